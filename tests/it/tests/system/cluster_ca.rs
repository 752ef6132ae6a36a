//! The cluster's authority is replaced while everything runs: nobody loses more than a moment, and nobody is forgotten.

use symphony_api::v1::{Authority, CreateToken, PatchNode, PatchNodeSpec};
use symphony_api::{Client, Code, DEFAULT_PROJECT, Endpoint};
use symphony_tests::{Cluster, until};

use super::story::volume;

fn with(cluster: &Cluster, number: usize, token: &str) -> Client {
    let address = cluster.clients()[number].address().to_owned();
    Client::new(&Endpoint::Http(address), Some(token), DEFAULT_PROJECT).unwrap()
}

async fn made(client: &Client, name: &str) {
    client.create_volume(&volume(name, "1MiB", None)).await.unwrap();
    until(&format!("volume {name} to be ready"), async || {
        client
            .volume(name)
            .await
            .ok()
            .filter(symphony_api::v1::Volume::is_ready)
    })
    .await;
}

async fn settled(client: &Client) -> Authority {
    until("the authority before to be trusted no more", async || {
        client
            .authority()
            .await
            .ok()
            .filter(|authority| authority.trusted.is_empty())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_replaced_while_everything_runs() {
    let cluster = Cluster::start(3).await;
    let [first, second, third] = cluster.clients() else {
        panic!("three managers");
    };
    let before = first.authority().await.unwrap();
    assert!(before.trusted.is_empty() && before.known.is_empty() && before.waiting.is_empty());
    assert_eq!(
        first.retire_authorities(false).await.unwrap_err().code(),
        Some(Code::Conflict)
    );

    // One node is away: it holds up the end of the old authority, and nothing else. Nothing is to be made there meanwhile.
    let cordon = PatchNode {
        spec: Some(PatchNodeSpec {
            cordoned: Some(true),
            ..PatchNodeSpec::default()
        }),
        ..PatchNode::default()
    };
    first.patch_node("node-3", &cordon, None).await.unwrap();
    let frozen = cluster.freeze(&cluster.node(2)).await;
    let rotated = second.rotate_authority().await.unwrap();
    assert_ne!(rotated.digest, before.digest);
    assert_eq!(rotated.trusted, std::slice::from_ref(&before.digest));
    let again = third.rotate_authority().await.unwrap_err();
    assert_eq!(again.code(), Some(Code::Conflict), "{again}");
    until("the others to have certificates of the new one", async || {
        let authority = third.authority().await.ok()?;
        (authority.waiting == ["node/node-3"]).then_some(())
    })
    .await;
    // The leader goes in the middle of it, and is back with a certificate of the new one.
    let leader = cluster.leader_after(0).await;
    cluster.kill(&cluster.manager(leader.number())).await;
    let next = cluster.leader_after(leader.epoch).await;
    assert!(next.epoch > leader.epoch);
    for client in cluster.clients() {
        until("every manager to serve", async || client.ready().await.ok()).await;
    }
    for (number, client) in cluster.clients().iter().enumerate() {
        // These clients know the old authority alone: it is the one that their token names.
        made(client, &format!("during-{number}")).await;
    }
    cluster.thaw(frozen);
    let after = settled(first).await;
    assert_eq!(
        (after.digest.as_str(), after.waiting.len()),
        (rotated.digest.as_str(), 0)
    );
    assert!(after.tokens > 0 && after.known.contains(&before.digest), "{after:?}");
    until("all nodes to be ready", async || {
        let nodes = third.all_nodes(None).await.ok()?;
        nodes.iter().all(|node| node.status.phase == "Ready").then_some(())
    })
    .await;

    // Tokens that name the old one are of use until somebody says otherwise.
    let refused = second.retire_authorities(false).await.unwrap_err();
    assert!(refused.to_string().contains("tokens"), "{refused}");
    let wanted = CreateToken {
        role: "admin".to_owned(),
        ..CreateToken::default()
    };
    let token = first.create_token(&wanted).await.unwrap().text;
    let new = with(&cluster, 1, &token);
    made(&new, "with-a-new-token").await;
    let alone = new.retire_authorities(true).await.unwrap();
    assert!(alone.known.is_empty() && alone.trusted.is_empty(), "{alone:?}");
    for number in 0..3 {
        let new = with(&cluster, number, &token);
        until("the managers to send nothing of the old one", async || {
            with(&cluster, number, &old_token(&cluster))
                .ready()
                .await
                .is_err()
                .then_some(())
        })
        .await;
        made(&new, &format!("after-{number}")).await;
    }
}

/// The token that everybody has had since before.
fn old_token(cluster: &Cluster) -> String {
    symphony_tests::cloud::token(cluster.dir())
}
