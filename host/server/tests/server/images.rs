//! Images: streamed in, refused, kept while they are needed.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use symphony_api::client::Upload;
use symphony_api::v1::{CreateVolume, CreateVolumeSpec, ImageFormat, ImagePhase, Size};
use symphony_api::{Client, Code, Endpoint};
use symphony_core::{keys, record};
use symphony_server::Limits;
use symphony_store::{Range, StoreExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{CLIENT_TOKEN, Harness};

const IMAGES: &str = "/v1/projects/default/images";

fn hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Harness {
    fn post_image(&self, query: &str, bytes: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.ask(Method::POST, &format!("{IMAGES}?{query}"))
            .header("content-type", "application/octet-stream")
            .body(bytes)
    }

    /// Nothing is kept at the data port, and as many uploads as this were given up.
    #[track_caller]
    fn gave_up(&self, count: usize) {
        let seen = self.data.seen.lock().unwrap();
        assert!(seen.kept.is_empty(), "{:?}", seen.kept.keys());
        assert_eq!(seen.given_up.len(), count);
    }
}

#[tokio::test]
async fn an_image_streams_through_and_is_put_on_record() {
    let harness = Harness::start().await;
    let client = harness.client();
    // Larger than all buffers on the way together.
    let piece = Bytes::from(vec![7; 1 << 20]);
    let whole = piece.repeat(48);
    let reader = tokio_util::io::StreamReader::new(stream::iter(vec![piece; 48]).map(Ok::<_, std::io::Error>));
    let image = client
        .create_image("i", Some(&hex(&whole)), Upload::new(reader, Some(48 << 20)))
        .await
        .unwrap();
    assert_eq!(image.spec.digest, format!("sha256:{}", hex(&whole)));
    assert_eq!(
        (image.spec.stored_bytes, image.spec.format),
        (48 << 20, ImageFormat::Raw)
    );
    assert_eq!(
        (image.status.phase, image.spec.node.as_str()),
        (ImagePhase::Pending, "n1")
    );
    assert_eq!(client.image("i").await.unwrap(), image);
    assert_eq!(client.image(&image.meta.id.to_string()).await.unwrap(), image);
    assert_eq!(client.all_images(None).await.unwrap(), [image]);
    // Of unknown length, too.
    let reader = tokio_util::io::StreamReader::new(stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"QFI"))]));
    let chunked = client.create_image("j", None, Upload::new(reader, None)).await.unwrap();
    assert_eq!(
        (chunked.spec.stored_bytes, chunked.spec.format),
        (3, ImageFormat::Qcow2)
    );
    assert!(
        client
            .metrics()
            .await
            .unwrap()
            .contains(&format!("symphony_http_uploaded_bytes_total {}", (48 << 20) + 3))
    );
    harness.stop().await;
}

#[tokio::test]
async fn bad_images_are_refused_and_given_up() {
    let harness = Harness::start().await;
    let cases: [(&str, &'static [u8], Code, &str); 4] = [
        ("name=a", b"BACKED", Code::ImageRefused, "backing file /etc/passwd"),
        ("name=a", b"VMDK", Code::ImageRefused, "format"),
        ("name=a", b"FULL", Code::TooLarge, "the disk is full"),
        (
            &format!("name=a&sha256={}", hex(b"other")),
            b"bytes",
            Code::DigestMismatch,
            &hex(b"bytes"),
        ),
    ];
    for (number, (query, bytes, code, says)) in cases.into_iter().enumerate() {
        let problem = harness.refused(harness.post_image(query, bytes)).await.is(code);
        assert!(problem.detail.contains(says), "{}", problem.detail);
        harness.gave_up(number + 1);
    }
    // No bytes: known from the length, or only when the end has come.
    harness
        .refused(harness.post_image("name=a", ""))
        .await
        .is(Code::ImageRefused);
    harness.gave_up(4);
    let none = stream::iter(Vec::<Result<Bytes, std::io::Error>>::new());
    harness
        .refused(harness.post_image("name=a", reqwest::Body::wrap_stream(none)))
        .await
        .is(Code::ImageRefused);
    harness.gave_up(5);
    harness.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_name_is_said_before_a_byte_is_read() {
    let harness = Harness::start().await;
    harness
        .client()
        .create_image("i", None, Upload::bytes(b"one".to_vec()))
        .await
        .unwrap();
    let begun = harness.data.seen.lock().unwrap().begun;
    for (query, pointer, code) in [
        ("name=i", "name", Code::AlreadyExists),
        ("name=A%2F..", "name", Code::InvalidArgument),
        ("name=%00", "name", Code::InvalidArgument),
        ("name=j&sha256=12", "sha256", Code::InvalidArgument),
    ] {
        harness
            .refused(harness.post_image(query, "two"))
            .await
            .at(code, pointer);
        // A client that sends on and on is told all the same.
        let piece = Bytes::from(vec![0; 64 << 10]);
        let endless = stream::repeat(piece).map(Ok::<_, std::io::Error>);
        harness
            .refused(harness.post_image(query, reqwest::Body::wrap_stream(endless)))
            .await
            .at(code, pointer);
    }
    for query in ["", "name=j&colour=red", "sha256=00"] {
        harness
            .refused(harness.post_image(query, "two"))
            .await
            .is(Code::InvalidArgument);
    }
    let text = harness
        .ask(Method::POST, &format!("{IMAGES}?name=j"))
        .header("content-type", "text/plain")
        .body("two");
    harness.refused(text).await.is(Code::UnsupportedMediaType);
    *harness.loops.image_service.lock().unwrap() = None;
    harness
        .refused(harness.post_image("name=j", "two"))
        .await
        .is(Code::NoImageService);
    *harness.loops.image_service.lock().unwrap() = Some(("n1".parse().unwrap(), "http://127.0.0.1:1".into()));
    harness
        .refused(harness.post_image("name=j", "two"))
        .await
        .is(Code::NoImageService);
    assert_eq!(harness.data.seen.lock().unwrap().begun, begun);
    harness.stop().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_no_image() {
    let harness = Harness::start().await;
    let mut socket = tokio::net::TcpStream::connect(harness.base.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST {IMAGES}?name=i HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_TOKEN}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\nhalf of it"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    while harness.data.seen.lock().unwrap().begun == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(socket);
    while harness.data.seen.lock().unwrap().given_up.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    harness.gave_up(1);
    assert_eq!(
        harness.client().image("i").await.unwrap_err().code(),
        Some(Code::NotFound)
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_upload_is_given_up() {
    let limits = Limits {
        upload_silence: std::time::Duration::from_secs(1),
        ..Limits::default()
    };
    let harness = Harness::with(limits).await;
    let silent = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]).chain(stream::pending());
    let problem = harness
        .refused(harness.post_image("name=i", reqwest::Body::wrap_stream(silent)))
        .await
        .is(Code::MalformedBody);
    assert!(problem.detail.contains("silent"), "{}", problem.detail);
    harness.gave_up(1);
    harness.stop().await;
}

/// A data port that takes one connection and does with it what it is told; the next are closed.
async fn only_one(port: tokio::net::TcpListener, answer: Option<&'static [u8]>) {
    let (mut held, _) = port.accept().await.unwrap();
    if let Some(answer) = answer {
        // Behind the end of a body in chunks.
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            assert_ne!(held.read_buf(&mut seen).await.unwrap(), 0);
        }
        held.write_all(answer).await.unwrap();
    }
    loop {
        drop(port.accept().await.unwrap());
    }
}

#[tokio::test]
async fn an_image_service_that_freezes_is_given_up() {
    let limits = Limits {
        upload_silence: std::time::Duration::from_secs(1),
        ..Limits::default()
    };
    let harness = Harness::with(limits).await;
    let piece = Bytes::from(vec![0; 64 << 10]);
    let endless = stream::repeat(piece).map(Ok::<_, std::io::Error>).boxed();
    let whole = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
    let cases = [
        (endless, None, "took no bytes"),
        (
            whole,
            Some(&b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{"[..]),
            "its answer",
        ),
    ];
    for (pieces, answer, says) in cases {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", port.local_addr().unwrap());
        *harness.loops.image_service.lock().unwrap() = Some(("n1".parse().unwrap(), url));
        let frozen = tokio::spawn(only_one(port, answer));
        let problem = harness
            .refused(harness.post_image("name=i", reqwest::Body::wrap_stream(pieces)))
            .await
            .is(Code::NoImageService);
        assert!(problem.detail.contains(says), "{}", problem.detail);
        frozen.abort();
    }
    harness.stop().await;
}

/// Tokens and images are not for a proxy that happens to be named in the environment.
#[test]
fn no_proxy_is_asked() {
    let nobody = "http://127.0.0.1:1";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "images::an_image_streams_through_and_is_put_on_record"])
        .envs([("http_proxy", nobody), ("all_proxy", nobody)])
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn two_uploads_of_one_name_make_one_image() {
    let harness = Harness::start().await;
    let client = harness.client();
    let uploads = (0..4_u8).map(|n| client.create_image("i", None, Upload::bytes(vec![n + 1; 1 << 20])));
    let answers = futures_util::future::join_all(uploads).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Some(Code::AlreadyExists));
    }
    assert_eq!(
        harness.data.seen.lock().unwrap().kept.len(),
        1,
        "the others were given up"
    );
    harness.stop().await;
}

fn from_image(name: &str, image: &str, size: Option<&str>) -> CreateVolume {
    let spec = CreateVolumeSpec {
        size: size.map(Size::text),
        image: Some(image.into()),
        ..CreateVolumeSpec::default()
    };
    CreateVolume {
        name: name.into(),
        labels: Default::default(),
        spec,
    }
}

#[tokio::test]
async fn a_volume_takes_the_size_of_its_image_or_a_larger_one() {
    let harness = Harness::start().await;
    let client = harness.client();
    let image = client
        .create_image("i", None, Upload::bytes(vec![1; 1500]))
        .await
        .unwrap();
    let volume = client.create_volume(&from_image("v", "i", None)).await.unwrap();
    assert_eq!(volume.spec.size, 1536, "whole sectors");
    let source = volume.spec.image.unwrap();
    assert_eq!(
        (source.name.as_str(), source.digest, source.virtual_bytes),
        ("i", image.spec.digest, 1500)
    );
    assert_eq!(
        client
            .create_volume(&from_image("w", &image.meta.id.to_string(), Some("1MiB")))
            .await
            .unwrap()
            .spec
            .size,
        1 << 20
    );
    let small = json!({"name": "x", "spec": {"image": "i", "size": 1024}});
    harness
        .refused(harness.post_volume(&small))
        .await
        .at(Code::Unprocessable, "/spec/size");
    harness.add_project("other").await;
    let other = Client::new(&Endpoint::Http(harness.base.clone()), Some(CLIENT_TOKEN), "other").unwrap();
    assert_eq!(
        other
            .create_volume(&from_image("v", "i", None))
            .await
            .unwrap_err()
            .code(),
        Some(Code::NotFound)
    );
    harness.stop().await;
}

#[tokio::test]
async fn an_image_stays_while_volumes_need_its_bytes() {
    let harness = Harness::start().await;
    let client = harness.client();
    client
        .create_image("i", None, Upload::bytes(vec![1; 512]))
        .await
        .unwrap();
    for n in 0..7 {
        client
            .create_volume(&from_image(&format!("v{n}"), "i", None))
            .await
            .unwrap();
    }
    let problem = harness
        .refused(harness.ask(Method::DELETE, &format!("{IMAGES}/i")))
        .await
        .is(Code::ImageInUse);
    assert_eq!(problem.detail.matches("default/v").count(), 5, "{}", problem.detail);
    assert!(problem.detail.contains("and others"));
    // Another image with the same bytes keeps them: then the first may go, and the second may not.
    client
        .create_image("twin", None, Upload::bytes(vec![1; 512]))
        .await
        .unwrap();
    assert!(
        client
            .delete_image("i", None)
            .await
            .unwrap()
            .meta
            .deleting_since
            .is_some()
    );
    harness
        .refused(harness.ask(Method::DELETE, &format!("{IMAGES}/twin")))
        .await
        .is(Code::ImageInUse);
    assert_eq!(
        client.delete_image("i", None).await.unwrap().status.phase,
        ImagePhase::Deleting,
        "again changes nothing"
    );
    let late = client.create_volume(&from_image("late", "i", None)).await.unwrap_err();
    assert_eq!(late.code(), Some(Code::Conflict));
    // The volumes go, as the loops have it; then the image may.
    for kv in harness.store.range(Range::prefix("v1/image-use/")).await.unwrap().kvs {
        harness.store.delete(kv.key).await.unwrap();
    }
    client.delete_image("twin", None).await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn twins_never_both_go_while_they_are_needed() {
    let harness = Harness::start().await;
    let client = harness.client();
    for round in 0..10_u8 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            client
                .create_image(name, None, Upload::bytes(vec![round + 1; 512]))
                .await
                .unwrap();
        }
        client
            .create_volume(&from_image(&format!("v{round}"), &names[0], None))
            .await
            .unwrap();
        let (a, b) = tokio::join!(
            client.delete_image(&names[0], None),
            client.delete_image(&names[1], None)
        );
        assert_eq!([a.is_ok(), b.is_ok()].into_iter().filter(|gone| *gone).count(), 1);
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_refused_image_makes_no_volume() {
    let harness = Harness::start().await;
    let client = harness.client();
    client
        .create_image("i", None, Upload::bytes(vec![1; 512]))
        .await
        .unwrap();
    let key = keys::image(&"default".parse().unwrap(), &"i".parse().unwrap());
    let kv = harness.store.get(&key.as_str().into(), None).await.unwrap().unwrap();
    let mut image: symphony_core::image::Image = record::decode(&kv.value).unwrap();
    image.status.phase = symphony_core::image::ImagePhase::Failed;
    harness.store.put(key, record::encode(&image).unwrap()).await.unwrap();
    let body = json!({"name": "v", "spec": {"image": "i"}});
    harness
        .refused(harness.post_volume(&body))
        .await
        .at(Code::Conflict, "/spec/image");
    harness.stop().await;
}

#[tokio::test]
async fn uploads_over_the_limit_are_told_to_wait() {
    let harness = Harness::with(Limits {
        uploads: 1,
        ..Limits::default()
    })
    .await;
    let (sender, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(pieces));
    let first = tokio::spawn(harness.post_image("name=i", body).send());
    sender.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
    while harness.data.seen.lock().unwrap().begun == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    harness
        .refused(harness.post_image("name=j", "y"))
        .await
        .is(Code::TooManyRequests);
    drop(sender);
    assert_eq!(first.await.unwrap().unwrap().status(), 201);
    assert_eq!(harness.post_image("name=j", "y").send().await.unwrap().status(), 201);
    harness.stop().await;
}
