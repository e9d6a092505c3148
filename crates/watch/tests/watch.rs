//! Watching real folders.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use watch::{Watcher, folder_of};

const SOON: Duration = Duration::from_secs(60);
/// Long enough for an event that should not come; the tests do not rely on it to pass.
const QUIET: Duration = Duration::from_millis(50);

async fn told(watcher: &Watcher) -> bool {
    tokio::time::timeout(SOON, watcher.changed()).await.is_ok()
}

/// Waits until nothing more comes.
async fn settle(watcher: &Watcher) {
    while tokio::time::timeout(QUIET, watcher.changed()).await.is_ok() {}
}

fn watching(folder: &Path) -> Watcher {
    let mut watcher = Watcher::new();
    assert_eq!(watcher.watch([folder.to_owned()]), []);
    watcher
}

#[tokio::test]
async fn creating_writing_renaming_and_removing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let watcher = watching(folder.path());
    for change in [&(|| fs::write(&a, "1")) as &dyn Fn() -> std::io::Result<()>, &|| fs::write(&a, "2"), &|| fs::rename(&a, &b), &|| {
        fs::remove_file(&b)
    }] {
        settle(&watcher).await;
        change().unwrap();
        assert!(told(&watcher).await);
    }
}

#[tokio::test]
async fn reading_and_other_folders_are_not_told() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("a");
    fs::write(&file, "1").unwrap();
    let watcher = watching(folder.path());
    settle(&watcher).await;
    fs::read(&file).unwrap();
    fs::read_dir(folder.path()).unwrap().count();
    fs::write(other.path().join("x"), "1").unwrap();
    assert!(tokio::time::timeout(QUIET, watcher.changed()).await.is_err());
}

#[tokio::test]
async fn all_watchers_of_a_folder_are_told_until_they_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (watching(folder.path()), watching(folder.path()));
    fs::write(folder.path().join("a"), "1").unwrap();
    assert!(told(&first).await && told(&second).await);
    drop(first);
    settle(&second).await;
    fs::write(folder.path().join("b"), "1").unwrap();
    assert!(told(&second).await);
}

#[tokio::test]
async fn a_folder_that_is_no_longer_wanted_is_let_go() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut watcher = watching(folder.path());
    assert_eq!(watcher.watch([other.path().to_owned()]), []);
    fs::write(folder.path().join("a"), "1").unwrap();
    assert!(tokio::time::timeout(QUIET, watcher.changed()).await.is_err());
    fs::write(other.path().join("a"), "1").unwrap();
    assert!(told(&watcher).await);
}

#[tokio::test]
async fn a_missing_folder_is_named_and_can_be_taken_up_later() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("later");
    let mut watcher = Watcher::new();
    let blind = watcher.watch([folder.clone()]);
    assert_eq!(blind.len(), 1);
    assert_eq!(blind[0].folder, folder);
    for _ in 0..2 {
        fs::create_dir(&folder).unwrap();
        assert_eq!(watcher.watch([folder.clone()]), []);
        settle(&watcher).await;
        fs::write(folder.join("a"), "1").unwrap();
        assert!(told(&watcher).await);
        fs::remove_dir_all(&folder).unwrap();
        settle(&watcher).await;
    }
}

#[tokio::test]
async fn a_swapped_link_is_told() {
    // As Kubernetes mounts secrets: file -> ..data/file, ..data -> ..1, and ..data is swapped.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::create_dir(at("..2")).unwrap();
    std::os::unix::fs::symlink("..1", at("..data")).unwrap();
    let watcher = watching(folder.path());
    settle(&watcher).await;
    std::os::unix::fs::symlink("..2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    assert!(told(&watcher).await);
}

#[test]
fn a_bare_file_name_lies_in_the_working_folder() {
    assert_eq!(folder_of(Path::new("a")), PathBuf::from("."));
    assert_eq!(folder_of(Path::new("/x/a")), PathBuf::from("/x"));
}
