//! Objects on a real file system.

use std::path::PathBuf;

use symphony_protocol::config::PoolConfig;

use super::*;

const DIGEST: Digest = Digest::new([7; 32]);

struct Bench {
    _folder: tempfile::TempDir,
    volumes: PathBuf,
    pool: Pool,
    id: VolumeId,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig {
        name: "p".parse().unwrap(),
        path: folder.path().into(),
        capacity: None,
    };
    let pool = Pool::open(&config, folder.path()).unwrap();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    Bench {
        volumes: folder.path().join("volumes"),
        _folder: folder,
        pool,
        id,
    }
}

impl Bench {
    fn state(&self) -> ObjectState {
        match self.pool.object_fact(self.id).unwrap() {
            Fact::Object { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn from_absent_to_present_and_back_each_step_twice() {
    let Bench {
        _folder,
        volumes,
        pool,
        id,
    } = &bench();
    let state = || match pool.object_fact(*id).unwrap() {
        Fact::Object { state, .. } => state,
        other => panic!("{other:?}"),
    };
    assert_eq!(state(), ObjectState::Absent);
    for _ in 0..2 {
        pool.allocate(*id, 1 << 20).unwrap();
        assert_eq!(
            state(),
            ObjectState::Partial {
                size_bytes: 1 << 20,
                written: None
            }
        );
    }
    for _ in 0..2 {
        pool.note_written(*id, DIGEST).unwrap();
        assert_eq!(
            state(),
            ObjectState::Partial {
                size_bytes: 1 << 20,
                written: Some(DIGEST.to_string())
            }
        );
    }
    for _ in 0..2 {
        pool.resize(*id, 2 << 20).unwrap();
        assert!(matches!(state(), ObjectState::Partial { size_bytes, written: Some(_) } if size_bytes == 2 << 20));
    }
    for _ in 0..2 {
        pool.publish(*id).unwrap();
        assert_eq!(state(), ObjectState::Present { size_bytes: 2 << 20 });
    }
    assert_eq!(std::fs::read_dir(volumes).unwrap().count(), 1);
    for _ in 0..2 {
        pool.remove(*id).unwrap();
        assert_eq!(state(), ObjectState::Absent);
    }
    assert_eq!(std::fs::read_dir(volumes).unwrap().count(), 0);
}

#[test]
fn a_whole_volume_is_left_alone_by_steps_that_make_one() {
    let bench = bench();
    bench.pool.allocate(bench.id, 4096).unwrap();
    bench.pool.publish(bench.id).unwrap();
    let path = bench.volumes.join(whole(bench.id));
    std::fs::write(&path, [9; 4096]).unwrap();
    bench.pool.allocate(bench.id, 512).unwrap();
    bench.pool.publish(bench.id).unwrap();
    assert!(bench.pool.resize(bench.id, 512).is_err());
    bench.pool.resize(bench.id, 8192).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() == 8192 && bytes[..4096] == [9; 4096] && bytes[4096..] == [0; 4096]);
}

#[test]
fn allocating_again_forgets_content_and_note() {
    let bench = bench();
    bench.pool.allocate(bench.id, 4096).unwrap();
    let path = bench.volumes.join(partial(bench.id));
    std::fs::write(&path, [9; 4096]).unwrap();
    bench.pool.note_written(bench.id, DIGEST).unwrap();
    assert!(bench.pool.resize(bench.id, 512).is_err(), "written content is not cut");
    bench.pool.allocate(bench.id, 4096).unwrap();
    assert_eq!(
        bench.state(),
        ObjectState::Partial {
            size_bytes: 4096,
            written: None
        }
    );
    assert_eq!(std::fs::read(&path).unwrap(), [0; 4096]);
}

#[test]
fn a_torn_note_says_nothing() {
    let bench = bench();
    bench.pool.allocate(bench.id, 4096).unwrap();
    for torn in [&b""[..], b"sha256:0707", &[0xff; 71]] {
        std::fs::write(bench.volumes.join(written(bench.id)), torn).unwrap();
        assert_eq!(
            bench.state(),
            ObjectState::Partial {
                size_bytes: 4096,
                written: None
            }
        );
    }
}

#[test]
fn nothing_to_resize_or_publish_is_said() {
    let bench = bench();
    assert!(matches!(bench.pool.resize(bench.id, 512), Err(StepError::Missing(_))));
    assert!(matches!(bench.pool.publish(bench.id), Err(StepError::Missing(_))));
}

#[test]
fn symlinks_are_damage_and_their_targets_stay_untouched() {
    let bench = bench();
    let secret = bench.volumes.parent().unwrap().join("secret");
    for file in [whole(bench.id), partial(bench.id), written(bench.id)] {
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, bench.volumes.join(&file)).unwrap();
        let partial_link = file == partial(bench.id);
        if partial_link || file == whole(bench.id) {
            assert!(bench.pool.object_fact(bench.id).is_err(), "{file}");
            assert!(bench.pool.resize(bench.id, 1 << 20).is_err(), "{file}");
            assert!(bench.pool.publish(bench.id).is_err(), "{file}");
        } else {
            bench.pool.allocate(bench.id, 512).unwrap();
            assert_eq!(
                bench.state(),
                ObjectState::Partial {
                    size_bytes: 512,
                    written: None
                }
            );
        }
        bench.pool.remove(bench.id).unwrap();
        assert_eq!(bench.state(), ObjectState::Absent);
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret", "{file}");
    }
}
