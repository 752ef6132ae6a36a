//! The image service: what is taken in, what is refused, what is handed out.

use std::path::Path;

use symphony_core::image::Format;
use symphony_core::plan::Goal;
use symphony_core::plan::image::{DetectedFormat, Integrity, Step};
use symphony_protocol::FailureKind;

use crate::cluster;
use crate::manager::{Manager, Session};
use crate::process::{Folder, Process};
use crate::service::Service;
use crate::work::{Import, Picture, Wanted, client, put, qemu_img, states};

struct Bench {
    folder: Folder,
    agent: Process,
    session: Session,
}

async fn bench() -> Bench {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let session = manager.session().await;
    Bench { folder, agent, session }
}

/// A file made by qemu-img, as an upload.
fn made(arguments: &[&str], change: impl FnOnce(&Path)) -> Picture {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), vec![b's'; 1 << 20]).unwrap();
    std::fs::write(folder.path().join("data.raw"), &Picture::raw(1).raw).unwrap();
    qemu_img(folder.path(), arguments);
    change(&folder.path().join("a"));
    Picture::of(
        std::fs::read(folder.path().join("a")).unwrap(),
        vec![0; 1 << 20],
        Format::Qcow2,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_once_checked_and_handed_out_in_parts() {
    let Bench {
        folder,
        agent,
        mut session,
    } = bench().await;
    let picture = Picture::qcow2(4);
    for _ in 0..2 {
        let import = Import::new(&picture);
        import.make(&mut session, &agent.data_url).await.unwrap().unwrap();
        assert_eq!((folder.names("incoming").len(), folder.names("blobs").len()), (0, 1));
    }
    let url = format!("{}/data/v1/blobs/{}", agent.data_url, picture.digest.hex());
    let get = async |range: &str| {
        let request = client().get(&url).header("range", range);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    assert_eq!(get("none").await, (200, picture.stored.clone().into()));
    assert_eq!(get("bytes=1000-").await, (206, picture.stored[1000..].to_vec().into()));
    assert_eq!(get("bytes=10-19").await, (206, picture.stored[10..20].to_vec().into()));
    assert_eq!(get("bytes=999999999-").await.0, 416);
    // Another node may read it too, and nobody else.
    let node = cluster::tls(&cluster::node("n2"));
    let status = async |client: reqwest::Client| client.get(&url).send().await.unwrap().status().as_u16();
    assert_eq!(status(cluster::client_of(&node)).await, 200);
    assert_eq!(status(cluster::anonymous_client_of(&node)).await, 401);
    let gone = Import {
        goal: Goal::Absent,
        ..Import::new(&picture)
    };
    gone.make(&mut session, &agent.data_url).await.unwrap().unwrap();
    assert_eq!(get("none").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_uploads_get_one_clear_answer_and_leave_nothing() {
    let Bench {
        folder,
        agent,
        mut session,
    } = bench().await;
    let picture = Picture::raw(1);
    let upload = format!("{}/data/v1/uploads/{}", agent.data_url, uuid::Uuid::now_v7());
    let cases = [
        (format!("{upload}?sha256={}", "0".repeat(64)), 422, "digest-mismatch"),
        (format!("{upload}?sha256=short"), 400, "bad-request"),
        (
            format!("{}/data/v1/uploads/..%2f..%2fetc", agent.data_url),
            400,
            "bad-request",
        ),
        (format!("{}/data/v1/uploads/name", agent.data_url), 400, "bad-request"),
    ];
    for (url, status, code) in cases {
        let answer = put(client().put(&url), picture.stored.clone()).await.unwrap();
        assert!(answer.0 == status && answer.1.contains(code), "{url}: {answer:?}");
    }
    // Another node may read images, and nothing else.
    let node = cluster::client_of(&cluster::tls(&cluster::node("n2")));
    let wrong = put(node.put(&upload), vec![0; 512]).await.unwrap();
    assert!(wrong.0 == 403 && wrong.1.contains("forbidden"), "{wrong:?}");
    // More than the disk has, said before a byte is sent.
    let huge = client()
        .put(&upload)
        .header("content-length", (1_u64 << 60).to_string());
    let huge = huge.body(reqwest::Body::wrap_stream(futures_util::stream::pending::<
        std::io::Result<Vec<u8>>,
    >()));
    assert_eq!(huge.send().await.unwrap().status().as_u16(), 507);
    // Cut in the middle.
    let chunks = [Ok(vec![1; 100_000]), Err(std::io::Error::other("cut"))];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    assert!(client().put(&upload).body(body).send().await.is_err());
    while !folder.names("incoming").is_empty() {
        tokio::task::yield_now().await;
    }
    // Twice under one id.
    let import = Import::new(&picture);
    assert_eq!(import.put(&agent.data_url).await.unwrap().0, 201);
    assert_eq!(import.put(&agent.data_url).await.unwrap().0, 409);
    let (found, _) = states(&import.call(&mut session, None).await.unwrap().unwrap());
    assert_eq!(found.unwrap().header.format, DetectedFormat::Raw);
    let given_up = client().delete(format!("{}/data/v1/uploads/{}", agent.data_url, import.upload));
    assert_eq!(given_up.send().await.unwrap().status().as_u16(), 204);
    assert!(folder.names("incoming").is_empty() && folder.names("blobs").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_refer_to_others_or_are_broken_are_refused() {
    let Bench {
        folder,
        agent,
        mut session,
    } = bench().await;
    let create = ["create", "-q", "-f", "qcow2"];
    let with = |more: &[&'static str]| made(&[&create[..], more].concat(), |_| ());
    let cut = made(&["convert", "-f", "raw", "-O", "qcow2", "data.raw", "a"], |file| {
        let bytes = std::fs::metadata(file).unwrap().len();
        std::fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(bytes / 2)
            .unwrap();
    });
    let odd = Picture::of(vec![1; 1000], vec![], Format::Raw);
    let empty = Picture::of(vec![], vec![], Format::Raw);
    let cases = [
        (with(&["-b", "secret", "-F", "raw", "a"]), "backing file (secret)"),
        (with(&["-o", "data_file=ext.raw", "a", "1M"]), "external"),
        (
            with(&["-o", "data_file=ext.raw,data_file_raw=on", "a", "1M"]),
            "external",
        ),
        (
            with(&[
                "--object",
                "secret,id=k,data=k",
                "-o",
                "encrypt.format=luks,encrypt.key-secret=k",
                "a",
                "1M",
            ]),
            "encrypt",
        ),
        (made(&["create", "-q", "-f", "vmdk", "a", "1M"], |_| ()), "VMDK"),
        (made(&["create", "-q", "-f", "vdi", "a", "1M"], |_| ()), "VDI"),
        (made(&["create", "-q", "-f", "vhdx", "a", "1M"], |_| ()), "VHDX"),
        (made(&["create", "-q", "-f", "vpc", "a", "1M"], |_| ()), "VHD"),
        (
            made(
                &["create", "-q", "-f", "vpc", "-o", "subformat=fixed", "a", "1M"],
                |_| (),
            ),
            "VHD",
        ),
        (made(&["create", "-q", "-f", "qcow", "a", "1M"], |_| ()), "version 1"),
        (cut, "qemu-img check"),
        (odd, "512"),
        (empty, "empty"),
    ];
    for (picture, named) in &cases {
        let import = Import::new(picture);
        let failure = import.make(&mut session, &agent.data_url).await.unwrap().unwrap_err();
        assert!(failure.message.contains(named), "{named}: {failure}");
        assert_eq!(failure.kind, FailureKind::Corrupt);
        let (found, present) = states(&import.call(&mut session, None).await.unwrap().unwrap());
        assert!(!present && matches!(found.unwrap().integrity, Integrity::Corrupt(_)));
        let discard = Step::Discard {
            upload: import.upload.to_string(),
        };
        import.call(&mut session, Some(vec![discard])).await.unwrap().unwrap();
    }
    assert!(folder.names("incoming").is_empty() && folder.names("blobs").is_empty());
}

/// The second wall: should a hostile image ever get past the header's reader, the jail keeps it from the node's files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jail_keeps_a_hostile_image_from_the_nodes_files() {
    let Bench {
        folder,
        agent: _agent,
        mut session,
    } = bench().await;
    if folder.log().contains("LANDLOCK IS NOT ENFORCED") {
        eprintln!("SKIPPED: this kernel has no Landlock, so the jail has no walls to test");
        return;
    }
    let secret = folder.path().join("secret");
    std::fs::write(&secret, vec![b's'; 1 << 20]).unwrap();
    let secret = secret.to_str().unwrap();
    let hostile = |arguments: &[&str]| {
        let arguments = [&["create", "-q", "-f", "qcow2"], arguments].concat();
        made(&arguments, |_| std::fs::write(secret, vec![b's'; 1 << 20]).unwrap())
    };
    let data_file = format!("data_file={secret},data_file_raw=on");
    for picture in [
        hostile(&["-b", secret, "-F", "raw", "a"]),
        hostile(&["-o", &data_file, "a", "1M"]),
    ] {
        let service = Service::start(picture.stored.clone(), &[]).await;
        let wanted = Wanted::from_picture(&picture, &service.url);
        let failure = wanted.make(&mut session).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Corrupt, "{failure}");
        assert!(failure.message.contains("Permission denied"), "{failure}");
        let partial = folder.pool.join("volumes").join(format!("{}.partial", wanted.id));
        assert!(!std::fs::read(partial).unwrap().contains(&b's'));
    }
}
