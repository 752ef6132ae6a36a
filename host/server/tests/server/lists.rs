//! Lists: pages by key, labels, and what is no page.

use reqwest::Method;
use symphony_api::Code;
use symphony_api::client::ListQuery;

use crate::harness::Harness;
use crate::volumes::volume;

fn query(limit: u32, page_token: Option<String>) -> ListQuery {
    ListQuery {
        limit: Some(limit),
        page_token,
        labels: None,
    }
}

#[tokio::test]
async fn pages_hold_still_while_the_list_changes() {
    let harness = Harness::start().await;
    let client = harness.client();
    for n in 0..7 {
        client.create_volume(&volume(&format!("v{n}"), "1MiB")).await.unwrap();
    }
    let first = client.volumes(&query(3, None)).await.unwrap();
    let names = |list: &symphony_api::v1::List<symphony_api::v1::Volume>| {
        list.items
            .iter()
            .map(|volume| volume.meta.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["v0", "v1", "v2"]);
    assert!(first.revision >= first.items[2].meta.revision);
    client.create_volume(&volume("a", "1MiB")).await.unwrap();
    client.create_volume(&volume("v22", "1MiB")).await.unwrap();
    let second = client.volumes(&query(3, first.next_page_token)).await.unwrap();
    assert_eq!(names(&second), ["v22", "v3", "v4"]);
    let third = client.volumes(&query(3, second.next_page_token)).await.unwrap();
    assert_eq!(
        (names(&third), third.next_page_token),
        (vec!["v5".to_owned(), "v6".to_owned()], None)
    );
    assert_eq!(
        client.volumes(&query(9, None)).await.unwrap().next_page_token,
        None,
        "exactly full is the last"
    );
    assert_eq!(client.all_volumes(None).await.unwrap().len(), 9);
    harness.stop().await;
}

#[tokio::test]
async fn labels_select() {
    let harness = Harness::start().await;
    let client = harness.client();
    for n in 0..6 {
        let mut wanted = volume(&format!("v{n}"), "1MiB");
        wanted
            .labels
            .insert("parity".into(), if n % 2 == 0 { "even" } else { "odd" }.into());
        client.create_volume(&wanted).await.unwrap();
    }
    let even = ListQuery {
        limit: Some(2),
        labels: Some("parity=even".into()),
        page_token: None,
    };
    let first = client.volumes(&even).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let second = client
        .volumes(&ListQuery {
            page_token: first.next_page_token,
            ..even
        })
        .await
        .unwrap();
    assert_eq!(
        (
            second.items.len(),
            second.items[0].meta.name.as_str(),
            second.next_page_token
        ),
        (1, "v4", None)
    );
    assert_eq!(client.all_volumes(Some("parity=odd")).await.unwrap().len(), 3);
    harness.stop().await;
}

#[tokio::test]
async fn events_come_newest_first_in_pages() {
    let harness = Harness::start().await;
    let client = harness.client();
    for n in 0..5 {
        client.create_volume(&volume(&format!("v{n}"), "1MiB")).await.unwrap();
    }
    let mut names = Vec::new();
    let mut next = query(2, None);
    loop {
        let page = client.events(&next).await.unwrap();
        names.extend(page.items.into_iter().map(|event| event.subject.name));
        let Some(token) = page.next_page_token else { break };
        next.page_token = Some(token);
    }
    assert_eq!(names, ["v4", "v3", "v2", "v1", "v0"]);
    harness.stop().await;
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let harness = Harness::start().await;
    let cases = [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("page_token=%2F..%2F", "page_token"),
        ("page_token=Li4vLi4", "page_token"),
        ("labels=x", "labels"),
    ];
    for (query, pointer) in cases {
        let path = format!("/v1/projects/default/volumes?{query}");
        harness
            .refused(harness.ask(Method::GET, &path))
            .await
            .at(Code::InvalidArgument, pointer);
    }
    for path in [
        "/v1/projects/default/volumes?limits=1",
        "/v1/events?labels=a=1",
        "/v1/plugins?labels=a=1",
    ] {
        harness
            .refused(harness.ask(Method::GET, path))
            .await
            .is(Code::InvalidArgument);
    }
    harness.stop().await;
}
