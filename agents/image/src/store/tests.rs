//! Uploads and blobs on a real file system.

use super::*;

const UPLOAD: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const DIGEST: Digest = Digest::new([7; 32]);

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    upload: UploadId,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    Bench {
        folder,
        store,
        upload: UPLOAD.parse().unwrap(),
    }
}

impl Bench {
    fn upload(&self, bytes: &[u8]) -> Upload {
        let mut file = self.store.incoming.create(&partial(self.upload)).unwrap();
        file.write_all(bytes).unwrap();
        self.store.accept(self.upload, file, DIGEST).unwrap()
    }

    fn files(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(folder)).unwrap().count()
    }
}

#[test]
fn from_upload_to_blob_and_away_each_step_twice() {
    let bench = bench();
    assert_eq!(bench.store.upload(bench.upload).unwrap(), None);
    let found = bench.upload(&[1; 1024]);
    assert_eq!(found.header.virtual_bytes, 1024);
    assert_eq!(bench.store.upload(bench.upload).unwrap(), Some(found));
    assert!(bench.store.publish(bench.upload, DIGEST).is_err(), "not checked yet");
    for _ in 0..2 {
        bench.store.note_integrity(bench.upload, Integrity::Sound).unwrap();
    }
    for _ in 0..2 {
        bench.store.publish(bench.upload, DIGEST).unwrap();
        assert!(bench.store.has_blob(DIGEST).unwrap());
        assert_eq!(bench.files("incoming"), 0);
    }
    for _ in 0..2 {
        bench.store.remove(DIGEST).unwrap();
        assert!(!bench.store.has_blob(DIGEST).unwrap());
    }
    assert!(matches!(
        bench.store.publish(bench.upload, DIGEST),
        Err(StepError::Missing(_))
    ));
}

#[test]
fn only_what_is_sound_and_named_right_is_published() {
    let bench = bench();
    bench.upload(&[1; 1024]);
    bench
        .store
        .note_integrity(bench.upload, Integrity::Corrupt("cut".into()))
        .unwrap();
    assert!(
        bench
            .store
            .publish(bench.upload, DIGEST)
            .unwrap_err()
            .to_string()
            .contains("cut")
    );
    bench.store.note_integrity(bench.upload, Integrity::Sound).unwrap();
    assert!(bench.store.publish(bench.upload, Digest::new([8; 32])).is_err());
    bench.store.discard(bench.upload).unwrap();
    let mut vmdk = vec![0; 1024];
    vmdk[..4].copy_from_slice(b"KDMV");
    bench.upload(&vmdk);
    bench.store.note_integrity(bench.upload, Integrity::Sound).unwrap();
    assert!(
        bench
            .store
            .publish(bench.upload, DIGEST)
            .unwrap_err()
            .to_string()
            .contains("VMDK")
    );
    assert_eq!(bench.files("blobs"), 0);
}

#[test]
fn the_same_bytes_are_stored_once() {
    let bench = bench();
    for _ in 0..2 {
        bench.upload(&[1; 1024]);
        bench.store.note_integrity(bench.upload, Integrity::Sound).unwrap();
        bench.store.publish(bench.upload, DIGEST).unwrap();
        assert_eq!((bench.files("incoming"), bench.files("blobs")), (0, 1));
    }
}

#[test]
fn a_start_keeps_what_is_complete_only() {
    let Bench { folder, store, upload } = bench();
    let mut file = store.incoming.create(&partial(upload)).unwrap();
    file.write_all(&[1; 512]).unwrap();
    store.accept(upload, file, DIGEST).unwrap();
    let other: UploadId = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
    store.incoming.create(&partial(other)).unwrap();
    store.incoming.create(&note(other)).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert!(store.upload(upload).unwrap().is_some());
    assert!(store.upload(other).unwrap().is_none());
    assert_eq!(store.incoming.names(10).unwrap().len(), 2);
}

#[test]
fn an_upload_that_lost_bytes_is_told() {
    let bench = bench();
    bench.upload(&[1; 1024]);
    let path = bench.folder.path().join("incoming").join(UPLOAD);
    File::options().write(true).open(path).unwrap().set_len(512).unwrap();
    assert!(matches!(bench.store.upload(bench.upload), Err(StepError::Corrupt(_))));
}
