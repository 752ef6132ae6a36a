//! Every manager answers everything, whoever leads; and a token that was revoked at one is worth nothing at any.

use symphony_api::client::{Upload, WatchQuery};
use symphony_api::v1::{Activate, CreateToken, Kind, Object};
use symphony_api::{Client, Code, DEFAULT_PROJECT, Endpoint};
use symphony_tests::{Cluster, component, disk, until};

use super::story::volume;

const SLOT: &str = "scheduler/volume";

#[tokio::test(flavor = "multi_thread")]
async fn every_manager_answers_everything() {
    let cluster = Cluster::start(3).await;
    let clients = cluster.clients();
    for (number, client) in clients.iter().enumerate() {
        let other = &clients[(number + 1) % clients.len()];
        // A watch at one sees what is made at another.
        let mut watch = client
            .watch(&WatchQuery {
                kinds: vec![Kind::Volume],
                from: None,
            })
            .await
            .unwrap();
        let name = format!("data-{number}");
        other.create_volume(&volume(&name, "1MiB", None)).await.unwrap();
        let seen = async {
            loop {
                if let Some(Object::Volume(volume)) = watch.next().await.unwrap().object
                    && volume.meta.name == name
                    && volume.is_ready()
                {
                    return;
                }
            }
        };
        tokio::time::timeout(symphony_tests::Patience::default().0, seen)
            .await
            .unwrap();

        let preview = client.preview_volume(&volume("dry", "1MiB", None)).await.unwrap();
        assert!(!preview.node.is_empty());
        assert!(client.volume("dry").await.is_err(), "a dry run makes nothing");
        client.explain_volume(&name).await.unwrap();
        let refused = client.explain_volume("nobody").await.unwrap_err();
        assert_eq!(
            refused.code(),
            Some(Code::NotFound),
            "the leader's refusal comes through: {refused}"
        );

        let raw = disk::raw(number as u64, 3 << 20);
        let image = format!("image-{number}");
        client.create_image(&image, None, Upload::bytes(raw)).await.unwrap();
        until("the image to be ready", async || {
            let image = other.image(&image).await.ok()?;
            (image.status.phase.as_str() == "Ready").then_some(())
        })
        .await;

        let plugin = client.push_plugin(component("binpack")).await.unwrap();
        let turn = Activate {
            plugin: plugin.digest.clone(),
            config: None,
        };
        client.activate(SLOT, &turn).await.unwrap();
        let through = format!("binpacked-{number}");
        client.create_volume(&volume(&through, "1MiB", None)).await.unwrap();
        let placed = until("it to be ready", async || {
            other
                .volume(&through)
                .await
                .ok()
                .filter(symphony_api::v1::Volume::is_ready)
        })
        .await;
        assert_eq!(placed.status.placement.unwrap().decided_by.digest, Some(plugin.digest));
        client.rollback(SLOT).await.unwrap();
        let junk = client.push_plugin(b"no component".to_vec()).await.unwrap_err();
        assert_eq!(junk.code(), Some(Code::PluginRejected), "{junk}");
        client.metrics().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_at_one_manager_is_refused_by_all() {
    let cluster = Cluster::start(1).await;
    let clients = cluster.clients();
    let wanted = CreateToken {
        role: "operator".to_owned(),
        ..CreateToken::default()
    };
    let made = clients[0].create_token(&wanted).await.unwrap();
    let with_it: Vec<Client> = clients
        .iter()
        .map(|client| {
            Client::new(
                &Endpoint::Http(client.address().to_owned()),
                Some(&made.text),
                DEFAULT_PROJECT,
            )
            .unwrap()
        })
        .collect();
    for client in &with_it {
        until("the token to be good everywhere", async || {
            client.all_nodes(None).await.ok()
        })
        .await;
    }
    clients[1].revoke_token(&made.token.id.to_string()).await.unwrap();
    for client in &with_it {
        until("the token to be refused everywhere", async || {
            (client.all_nodes(None).await.err()?.code() == Some(Code::Unauthorized)).then_some(())
        })
        .await;
        let refused = client.explain_volume("x").await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::Unauthorized), "{refused}");
        let refused = client.push_plugin(Vec::new()).await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::Unauthorized), "{refused}");
    }
    for client in clients {
        client.all_nodes(None).await.unwrap();
    }
}
