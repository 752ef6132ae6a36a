//! Killed at every durable step, started again, asked again: the same end as without it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use symphony_core::plan::Goal;
use symphony_core::plan::volume::Step;

use crate::manager::{Gone, Manager, Session};
use crate::process::{Folder, Process};
use crate::work::{Import, Picture, Wanted};

/// Every crash point in the sources of the agent's rooms.
fn points() -> BTreeSet<String> {
    let agents = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut points = BTreeSet::new();
    let mut folders: Vec<PathBuf> = ["agent", "storage", "image"]
        .iter()
        .map(|room| agents.join(room).join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            points.extend(
                text.split("symphony_crash::point(\"")
                    .skip(1)
                    .map(|rest| rest.split('"').next().unwrap().to_owned()),
            );
        }
    }
    // Getting in and staying in has tests of its own, and so has what is served to other nodes (`agents/storage`). No test
    // kills an agent in the middle of a readmission yet; that it may die there is searched as a model (`tests/models`).
    let elsewhere = [
        "agent.init.",
        "agent.enrolled.",
        "agent.renewal.",
        "export.",
        "agent.readmit.",
    ];
    points.retain(|point| !elsewhere.iter().any(|prefix| point.starts_with(prefix)));
    assert!(points.len() > 30, "{points:?}");
    points
}

/// What is done, the same each time.
struct Story {
    picture: Picture,
    clone: bool,
}

struct Ids {
    uploads: [symphony_core::id::UploadId; 2],
    volumes: [symphony_core::id::VolumeId; 4],
}

impl Ids {
    fn new() -> Self {
        let id = |_| uuid::Uuid::now_v7();
        Self {
            uploads: [0, 1].map(|n| symphony_core::id::UploadId::new(id(n))),
            volumes: [0, 1, 2, 3].map(|n| symphony_core::id::VolumeId::new(id(n))),
        }
    }
}

impl Story {
    /// All of it; cut when the agent is gone.
    async fn tell(&self, ids: &Ids, session: &mut Session, data_url: &str) -> Result<(), Gone> {
        let import = Import {
            upload: ids.uploads[0],
            ..Import::new(&self.picture)
        };
        import.make(session, data_url).await?.unwrap();
        let given_up = Picture::raw(1);
        let given_up = Import {
            upload: ids.uploads[1],
            ..Import::new(&given_up)
        };
        match given_up.put(data_url).await {
            Some((201 | 409, _)) => {}
            Some(other) => panic!("{other:?}"),
            None => return Err(Gone),
        }
        Import {
            goal: Goal::Absent,
            ..given_up
        }
        .make(session, data_url)
        .await?
        .unwrap();
        let written = Wanted {
            id: ids.volumes[0],
            ..Wanted::from_picture(&self.picture, data_url)
        };
        let written = Wanted {
            clone: self.clone,
            ..written
        };
        written.make(session).await?.unwrap();
        self.unpack(&written, session).await?;
        let empty = Wanted {
            id: ids.volumes[1],
            ..Wanted::empty(1 << 20)
        };
        empty.make(session).await?.unwrap();
        let removed = Wanted {
            id: ids.volumes[2],
            ..Wanted::empty(1 << 20)
        };
        removed.make(session).await?.unwrap();
        Wanted {
            goal: Goal::Absent,
            ..removed
        }
        .make(session)
        .await?
        .unwrap();
        // Generations, so that the ledger has something to forget.
        for generation in 1..=60 {
            let many = Wanted {
                id: ids.volumes[3],
                ..Wanted::empty(1 << 20)
            };
            let steps = many.steps_work(
                &[],
                vec![Step::Allocate {
                    object: many.id.to_string(),
                    size_bytes: 1 << 20,
                }],
            );
            match session.call(&many.object(), generation, steps).await? {
                Err(failure) if failure.kind == symphony_protocol::FailureKind::StaleGeneration => {}
                other => drop(other.unwrap()),
            }
        }
        Import {
            goal: Goal::Absent,
            ..Import {
                upload: ids.uploads[0],
                ..Import::new(&self.picture)
            }
        }
        .make(session, data_url)
        .await?
        .unwrap();
        Ok(())
    }

    /// A raw copy in the cache, and a program of the list.
    async fn unpack(&self, wanted: &Wanted<'_>, session: &mut Session) -> Result<(), Gone> {
        let (digest, format) = (self.picture.digest.to_string(), self.picture.format);
        let virtual_bytes = self.picture.raw.len() as u64;
        let command = symphony_core::plan::Command {
            program: "true".to_owned(),
            arguments: vec![],
            stdin: String::new(),
            timeout_ms: 60_000,
        };
        let steps = vec![
            Step::FetchImage { digest: digest.clone() },
            Step::UnpackImage {
                digest,
                format,
                virtual_bytes,
            },
            Step::Command(command),
        ];
        let facts = [symphony_core::plan::volume::Fact::Object {
            object: wanted.id.to_string(),
            state: symphony_core::plan::volume::ObjectState::Present {
                size_bytes: wanted.size_bytes,
            },
        }];
        session
            .call(&wanted.object(), 1, wanted.steps_work(&facts, steps))
            .await?
            .unwrap();
        Ok(())
    }

    fn assert_end(&self, ids: &Ids, folder: &Folder, point: &str) {
        let wanted = Wanted {
            id: ids.volumes[0],
            ..Wanted::from_picture(&self.picture, "")
        };
        wanted.assert_bytes(folder);
        Wanted {
            id: ids.volumes[1],
            ..Wanted::empty(1 << 20)
        }
        .assert_bytes(folder);
        let mut volumes = [
            format!("{}.raw", ids.volumes[0]),
            format!("{}.raw", ids.volumes[1]),
            format!("{}.partial", ids.volumes[3]),
        ];
        volumes.sort();
        assert_eq!(folder.names("volumes"), volumes, "{point}");
        let hex = self.picture.digest.hex();
        assert_eq!(
            folder.names("cache"),
            [format!("{hex}.raw"), format!("{hex}.src")],
            "{point}"
        );
        let unpacked = std::fs::read(folder.pool.join("cache").join(format!("{hex}.raw"))).unwrap();
        assert!(unpacked == self.picture.raw, "{point}");
        assert!(
            folder.names("incoming").is_empty() && folder.names("blobs").is_empty(),
            "{point}"
        );
    }
}

/// Starts an agent that is to die at a point, tells the story twice with a restart between, and says whether it died.
async fn run_into(story: &Story, ids: &Ids, manager: &Manager, folder: &Folder, environment: &[(&str, &str)]) -> bool {
    for _ in 0..2 {
        let agent = match folder.try_start(environment) {
            Ok(agent) => agent,
            Err(status) => {
                assert_eq!(status.signal(), Some(9), "{}", folder.log());
                return true;
            }
        };
        let mut session = manager.session().await;
        if story.tell(ids, &mut session, &agent.data_url).await.is_err() {
            assert_eq!(agent.wait().signal(), Some(9), "{}", folder.log());
            return true;
        }
        assert!(agent.end().success());
    }
    false
}

async fn finish(story: &Story, ids: &Ids, manager: &Manager, folder: &Folder) -> Process {
    let agent = folder.start();
    let mut session = manager.session().await;
    story
        .tell(ids, &mut session, &agent.data_url)
        .await
        .expect("the agent died without being asked to");
    agent
}

async fn kill_at_every_point(story: &Story, make: impl Fn(&str) -> Folder, skip: impl Fn(&str) -> bool) {
    let manager = Manager::start().await;
    let mut never = Vec::new();
    for point in points() {
        if skip(&point) {
            continue;
        }
        let (folder, ids) = (make(&manager.address), Ids::new());
        if !run_into(story, &ids, &manager, &folder, &[("SYMPHONY_CRASH_AT", &point)]).await {
            never.push(point);
            continue;
        }
        let agent = finish(story, &ids, &manager, &folder).await;
        story.assert_end(&ids, &folder, &point);
        drop(agent);
    }
    assert!(never.is_empty(), "never reached: {never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point() {
    let story = Story {
        picture: Picture::qcow2(2),
        clone: false,
    };
    kill_at_every_point(&story, Folder::new, |point| point.starts_with("storage.clone.")).await;
}

/// A loop-mounted file system that shares blocks; unmounted when dropped.
struct Reflink {
    temp: tempfile::TempDir,
}

impl Reflink {
    fn mount() -> Result<Self, String> {
        let temp = tempfile::tempdir().unwrap();
        let disk = temp.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(512 << 20).unwrap();
        let mount = temp.path().join("mount");
        std::fs::create_dir(&mount).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!("{program}: {error}")),
        };
        run("mkfs.xfs", &["-q".as_ref(), disk.as_ref()])
            .or_else(|_| run("mkfs.btrfs", &["-q".as_ref(), disk.as_ref()]))?;
        run(
            "mount",
            &["-o".as_ref(), "loop".as_ref(), disk.as_ref(), mount.as_ref()],
        )?;
        Ok(Self { temp })
    }

    fn folder(&self, manager: &str) -> Folder {
        let pool = self.temp.path().join("mount").join(uuid::Uuid::now_v7().to_string());
        Folder::with_pool(tempfile::tempdir().unwrap(), manager, pool)
    }
}

impl Drop for Reflink {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.temp.path().join("mount")).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_share_blocks_and_survive_a_kill_at_every_point() {
    let file_system = match Reflink::mount() {
        Ok(file_system) => file_system,
        Err(why) => {
            eprintln!(
                "SKIPPED: cloning needs root and xfsprogs or btrfs-progs ({})",
                why.trim()
            );
            return;
        }
    };
    let story = Story {
        picture: Picture::qcow2(2),
        clone: true,
    };
    let make = |url: &str| file_system.folder(url);
    kill_at_every_point(&story, make, |point| {
        !point.starts_with("storage.clone.") && !point.starts_with("storage.unpack.")
    })
    .await;
    let manager = Manager::start().await;
    let folder = file_system.folder(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    assert!(session.hello.pools[0].reflink);
    // Larger than the file system has room for, ten times over: only shared blocks make that possible.
    let picture = Picture::raw(64);
    Import::new(&picture)
        .make(&mut session, &agent.data_url)
        .await
        .unwrap()
        .unwrap();
    for _ in 0..10 {
        let wanted = Wanted {
            clone: true,
            ..Wanted::from_picture(&picture, &agent.data_url)
        };
        wanted.make(&mut session).await.unwrap().unwrap();
        wanted.assert_bytes(&folder);
    }
    assert!(agent.end().success());
}
