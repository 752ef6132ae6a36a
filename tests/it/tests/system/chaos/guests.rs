//! What the guests themselves say: each boot takes a number from its disk, adds one, writes it back and says it. A number
//! that is said twice was read by two.

use std::collections::BTreeSet;

use symphony_api::v1::Machine;
use symphony_tests::until;

use super::World;

/// Where a guest counts its boots on its disk.
const COUNT: usize = 1024;

/// All boots of a machine are different ones, and its disk knows of each; what it was last ordered to is seen there.
pub(super) async fn tell(world: &World, machine: &Machine) {
    let id = machine.meta.id.to_string();
    let disk = machine.spec.volumes[0].id.to_string();
    let (said, counted) = until(
        &format!("the guest of {} to have booted", machine.meta.name),
        async || {
            let (said, counted) = (boots(world, &id), count(world, &disk)?);
            (counted > 0).then_some((said, counted))
        },
    )
    .await;
    let different: BTreeSet<u32> = said.iter().copied().collect();
    let name = &machine.meta.name;
    assert_eq!(said.len(), different.len(), "{name} said a number twice: {said:?}");
    let last = different.last().copied().unwrap_or_default();
    assert!(
        last <= counted,
        "{name} said {said:?}, and its disk has {counted}: a write was lost"
    );
    world
        .story
        .note(format!("{name} said {said:?}, its disk has {counted}"));
}

/// The numbers that a machine said on any node.
fn boots(world: &World, id: &str) -> Vec<u32> {
    let is_log = |path: &std::path::Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("console.log") && path.to_string_lossy().contains(id)
    };
    let logs = world.cluster.files(is_log);
    let logs = logs.iter().map(|path| std::fs::read(path).unwrap_or_default());
    let numbers = |log: Vec<u8>| {
        let log = String::from_utf8_lossy(&log).into_owned();
        let after = log.split("boots=").skip(1);
        // The last one may not be whole yet.
        let whole = after.filter_map(|text| text.split_once('\r').map(|(number, _)| number.parse().unwrap()));
        whole.collect::<Vec<u32>>()
    };
    logs.flat_map(numbers).collect()
}

/// The number on a volume's file.
fn count(world: &World, disk: &str) -> Option<u32> {
    let name = format!("{disk}.raw");
    let files = world
        .cluster
        .files(|path| path.file_name().is_some_and(|file| *file == *name));
    assert!(files.len() <= 1, "{files:?}");
    let bytes = std::fs::read(files.first()?).ok()?;
    Some(u32::from(u16::from_le_bytes([
        *bytes.get(COUNT)?,
        *bytes.get(COUNT + 1)?,
    ])))
}
