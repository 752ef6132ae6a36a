//! Projects: made, changed, deleted; and quotas that hold also when many ask at once.

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;

use crate::harness::{Harness, json as answer};

fn volume(name: &str, size: u64) -> Value {
    json!({"name": name, "spec": {"size": size}})
}

#[tokio::test]
async fn the_default_is_always_there_and_others_are_made() {
    let harness = Harness::start().await;
    let (_, list) = answer(harness.ask(Method::GET, "/v1/projects")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][0]["revision"]),
        (&json!("default"), &json!(0))
    );
    for (path, body) in [
        ("volumes", volume("v", 512)),
        ("networks", json!({"name": "n", "spec": {}})),
        ("machines", json!({"name": "m", "spec": {"image": "i"}})),
        ("volumes?dry_run=true", volume("v", 512)),
    ] {
        let request = harness
            .ask(Method::POST, &format!("/v1/projects/web/{path}"))
            .json(&body);
        let problem = harness.refused(request).await.is(Code::ProjectNotFound);
        assert!(problem.detail.contains("symphony project create web"), "{problem:?}");
    }
    let upload = harness
        .ask(Method::POST, "/v1/projects/web/images?name=i")
        .header("content-type", "application/octet-stream");
    harness.refused(upload.body("bytes")).await.is(Code::ProjectNotFound);

    harness.add_project("web").await;
    let again = harness.ask(Method::POST, "/v1/projects").json(&json!({"name": "web"}));
    harness.refused(again).await.at(Code::AlreadyExists, "/name");
    let default = harness
        .ask(Method::POST, "/v1/projects")
        .json(&json!({"name": "default"}));
    harness.refused(default).await.at(Code::AlreadyExists, "/name");
    for (body, pointer) in [
        (json!({"name": "A"}), "/name"),
        (json!({"name": "a", "quota": {"pods": 1}}), "/quota/pods"),
        (json!({"name": "a", "quota": {"cpus": 1_u64 << 60}}), "/quota/cpus"),
    ] {
        let request = harness.ask(Method::POST, "/v1/projects").json(&body);
        harness.refused(request).await.at(Code::InvalidArgument, pointer);
    }
    answer(
        harness
            .ask(Method::POST, "/v1/projects/web/volumes")
            .json(&volume("v", 512)),
    )
    .await;
    harness.stop().await;
}

#[tokio::test]
async fn a_project_goes_when_it_has_nothing_and_its_tokens_with_it() {
    let harness = Harness::start().await;
    harness.add_project("web").await;
    let (_, text) = harness.token(json!({"role": "member", "project": "web"})).await;
    let (_, made) = answer(
        harness
            .ask(Method::POST, "/v1/projects/web/volumes")
            .json(&volume("v", 1024)),
    )
    .await;
    let delete = || harness.ask(Method::DELETE, "/v1/projects/web");
    let problem = harness.refused(delete()).await.is(Code::HasResources);
    assert_eq!(
        problem.detail,
        "the project web still has 1 volume, 1KiB in volumes; delete them first"
    );
    harness
        .refused(harness.ask(Method::DELETE, "/v1/projects/default"))
        .await
        .is(Code::Conflict);
    harness
        .refused(harness.ask(Method::DELETE, "/v1/projects/nope"))
        .await
        .is(Code::ProjectNotFound);
    // As the loops do it when nothing of it is left.
    let key = symphony_core::keys::volume(&"web".parse().unwrap(), &"v".parse().unwrap());
    symphony_store::StoreExt::delete(&*harness.store, key).await.unwrap();
    assert_eq!(made["project"], "web");
    answer(delete()).await;
    let request = harness.bare(Method::GET, "/v1/projects").bearer_auth(&text);
    harness.refused(request).await.is(Code::Unauthorized);
    // One of the same name is another project.
    harness.add_project("web").await;
    let request = harness.bare(Method::GET, "/v1/projects").bearer_auth(&text);
    harness.refused(request).await.is(Code::Unauthorized);
    harness.stop().await;
}

#[tokio::test]
async fn who_is_confined_sees_its_own_project_alone() {
    let harness = Harness::start().await;
    harness.add_project("web").await;
    harness.add_project("other").await;
    let (_, member) = harness.token(json!({"role": "member", "project": "web"})).await;
    let asked = |path: &str| harness.bare(Method::GET, path).bearer_auth(&member);
    let (_, list) = answer(asked("/v1/projects")).await;
    assert_eq!(
        (list["items"].as_array().unwrap().len(), &list["items"][0]["name"]),
        (1, &json!("web"))
    );
    answer(asked("/v1/projects/web")).await;
    harness.refused(asked("/v1/projects/other")).await.is(Code::Forbidden);
    harness.stop().await;
}

#[tokio::test]
async fn quotas_hold_for_creates_and_for_what_grows() {
    let harness = Harness::start().await;
    let body = json!({"name": "web", "quota": {"volumes": 2, "volume_bytes": 4096, "networks": 1}});
    let (_, project) = answer(harness.ask(Method::POST, "/v1/projects").json(&body)).await;
    assert_eq!(project["used"]["volumes"], 0);
    let post = |body: &Value| harness.ask(Method::POST, "/v1/projects/web/volumes").json(body);
    answer(post(&volume("a", 2048)).header("Idempotency-Key", "k")).await;
    let problem = harness.refused(post(&volume("b", 2560))).await.is(Code::QuotaExceeded);
    let quota = serde_json::to_value(&problem.quotas).unwrap();
    assert_eq!(
        quota,
        json!([{"resource": "volume_bytes", "used": 2048, "limit": 4096, "asked": 2560}])
    );
    assert!(problem.detail.contains("quota of 4KiB"), "{problem:?}");
    answer(post(&volume("b", 1024))).await;
    let problem = harness.refused(post(&volume("c", 4096))).await.is(Code::QuotaExceeded);
    assert_eq!(problem.quotas.len(), 2, "{problem:?}");
    let dry = harness
        .ask(Method::POST, "/v1/projects/web/volumes?dry_run=true")
        .json(&volume("c", 512));
    harness.refused(dry).await.is(Code::QuotaExceeded);
    // The same request again is the same volume, also when there is no room for another.
    answer(post(&volume("a", 2048)).header("Idempotency-Key", "k")).await;

    let grow = |size: u64| {
        let patch = harness.ask(Method::PATCH, "/v1/projects/web/volumes/b");
        patch.json(&json!({"spec": {"size": size}}))
    };
    harness.refused(grow(2560)).await.is(Code::QuotaExceeded);
    answer(grow(2048)).await;
    let net = |name: &str| {
        harness
            .ask(Method::POST, "/v1/projects/web/networks")
            .json(&json!({"name": name, "spec": {}}))
    };
    answer(net("n")).await;
    harness.refused(net("m")).await.is(Code::QuotaExceeded);

    let patch = |body: Value| harness.ask(Method::PATCH, "/v1/projects/web").json(&body);
    let (_, project) = answer(patch(json!({"quota": {"volumes": 1, "volume_bytes": null}}))).await;
    assert_eq!(project["quota"], json!({"networks": 1, "volumes": 1}));
    assert_eq!(
        (&project["used"]["volumes"], &project["used"]["volume_bytes"]),
        (&json!(2), &json!(4096))
    );
    harness.refused(post(&volume("c", 512))).await.is(Code::QuotaExceeded);
    answer(grow(8192)).await;
    harness
        .refused(patch(json!({"quota": {"volumes": 9}})).header("If-Match", "1"))
        .await
        .is(Code::PreconditionFailed);
    harness
        .refused(patch(json!({"quota": {"volumes": -1}})))
        .await
        .is(Code::MalformedBody);
    harness.stop().await;
}

#[tokio::test]
async fn machines_count_with_their_volumes_and_images_before_their_bytes() {
    let harness = Harness::start().await;
    let quota = |body: Value| {
        harness
            .ask(Method::PATCH, "/v1/projects/default")
            .json(&json!({"quota": body}))
    };
    answer(harness.post_volume(&volume("boot", 1024))).await;
    answer(quota(
        json!({"machines": 1, "cpus": 3, "memory_bytes": 1 << 30, "images": 0}),
    ))
    .await;
    let machine = |name: &str, cpus: u32| {
        let body = json!({"name": name, "spec": {"cpus": cpus, "memory": "512MiB", "power": "off", "volumes": [{"name": "boot"}]}});
        harness.ask(Method::POST, "/v1/projects/default/machines").json(&body)
    };
    let problem = harness.refused(machine("m", 4)).await.is(Code::QuotaExceeded);
    assert_eq!(problem.quotas[0].resource, "cpus");
    answer(machine("m", 2)).await;
    let problem = harness.refused(machine("n", 1)).await;
    assert!(
        [Code::QuotaExceeded, Code::VolumeInUse].contains(&problem.code),
        "{:?}",
        problem.problem
    );
    let resize = |spec: Value| {
        let patch = harness.ask(Method::PATCH, "/v1/projects/default/machines/m");
        patch.json(&json!({"spec": spec}))
    };
    harness
        .refused(resize(json!({"cpus": 4})))
        .await
        .is(Code::QuotaExceeded);
    harness
        .refused(resize(json!({"memory": "2GiB"})))
        .await
        .is(Code::QuotaExceeded);
    answer(resize(json!({"cpus": 3, "memory": "1GiB"}))).await;
    let image = harness
        .ask(Method::POST, "/v1/projects/default/images?name=i")
        .header("content-type", "application/octet-stream");
    harness.refused(image.body("bytes")).await.is(Code::QuotaExceeded);
    let (_, project) = answer(harness.ask(Method::GET, "/v1/projects/default")).await;
    let used = &project["used"];
    assert_eq!(
        (&used["machines"], &used["cpus"], &used["memory_bytes"]),
        (&json!(1), &json!(3), &json!(1 << 30))
    );
    harness.stop().await;
}

#[tokio::test]
async fn two_at_once_don_t_both_take_the_last_of_it() {
    let harness = Harness::start().await;
    let body = json!({"name": "web", "quota": {"volumes": 3}});
    answer(harness.ask(Method::POST, "/v1/projects").json(&body)).await;
    let all = (0..8).map(|number| {
        let body = volume(&format!("v{number}"), 512);
        harness.ask(Method::POST, "/v1/projects/web/volumes").json(&body).send()
    });
    let mut codes: Vec<u16> = Vec::new();
    for answer in futures_util::future::join_all(all).await {
        codes.push(answer.unwrap().status().as_u16());
    }
    codes.sort_unstable();
    assert_eq!(codes, [201, 201, 201, 409, 409, 409, 409, 409]);
    let (_, project) = answer(harness.ask(Method::GET, "/v1/projects/web")).await;
    assert_eq!(project["used"]["volumes"], 3);
    harness.stop().await;
}
