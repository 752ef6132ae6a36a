//! How each member of the cluster is.

use etcd_client::{AlarmAction, AlarmType, Client};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::etcd::cluster::Cluster;
use crate::etcd::endpoint::Endpoint;
use crate::etcd::fault::{Fault, chain};
use crate::etcd::{version, wire};
use crate::health::{Alarm, MemberHealth, MemberState};

/// Asks all members at once, each for as long as one attempt may take.
pub(super) async fn of(cluster: &Cluster) -> Vec<MemberHealth> {
    let ask = |endpoint| async move {
        let asked = timeout(cluster.options.attempt_timeout, state(endpoint)).await;
        let answer = asked.unwrap_or_else(|_| Err(Fault::late(&endpoint.name, false)));
        MemberHealth {
            endpoint: endpoint.name.clone(),
            answer: answer.map_err(|fault| chain(&fault.into_error())),
        }
    };
    join_all(cluster.endpoints().iter().map(ask)).await
}

async fn state(endpoint: &Endpoint) -> Result<MemberState, Fault> {
    let line = endpoint.line().await?;
    let failed = |error| Fault::of(&endpoint.name, error).harmless();
    let status = line.client.maintenance_client().status().await.map_err(failed)?;
    let id = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
    Ok(MemberState {
        version: status.version().to_owned(),
        is_old: version::is_old(status.version()),
        leads: status.leader() != 0 && status.leader() == id,
        has_leader: status.leader() != 0,
        size_bytes: wire::unsigned(status.db_size()),
        used_bytes: wire::unsigned(status.raft_used_db_size()),
        alarms: alarms(&line.client, id).await.map_err(failed)?,
    })
}

/// What is raised for this member; every member knows the alarms of all.
async fn alarms(client: &Client, member: u64) -> Result<Vec<Alarm>, etcd_client::Error> {
    let mut client = client.maintenance_client();
    let raised = client.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    let own = raised.alarms().iter().filter(|alarm| alarm.member_id() == member);
    Ok(own
        .filter_map(|alarm| match alarm.alarm() {
            AlarmType::None => None,
            AlarmType::Nospace => Some(Alarm::NoSpace),
            AlarmType::Corrupt => Some(Alarm::Corrupt),
        })
        .collect())
}
