//! What may be done to the parts: killed, held down, frozen, cut off, without power; and what ends it.

use std::path::PathBuf;

use super::cluster::Apart;
use super::parts::Program;
use super::space::Space;
use crate::process::{below, signal};
use crate::until;

impl Apart {
    /// The process of a part, when it runs.
    #[must_use]
    pub fn pid(&self, space: Space) -> Option<u32> {
        let folder = self.folder(space).display().to_string();
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let first = line.split('\0').next().unwrap_or_default();
            first.rsplit('/').next() == Some(Program::of(space).name()) && line.split('\0').any(|word| word == folder)
        };
        below(&self.folder(space)).into_iter().find(is_it)
    }

    async fn process(&self, space: Space) -> u32 {
        until(&format!("the process of {}", space.0), async || self.pid(space)).await
    }

    /// Kills the process of a part; it is started again at once. Gives its number.
    pub async fn kill(&self, space: Space) -> u32 {
        let pid = self.process(space).await;
        assert!(signal(pid, "KILL"), "{} is killed", space.0);
        self.story.note(format!("killed {}", space.0));
        pid
    }

    /// Waits until a part's process is another one than this.
    pub async fn runs_anew(&self, space: Space, before: u32) {
        until(&format!("{} to run anew", space.0), async || {
            self.pid(space).filter(|pid| *pid != before)
        })
        .await;
    }

    /// Kills the process of a part, and keeps it down.
    ///
    /// # Panics
    /// When its folder can't be written.
    pub async fn hold(&self, space: Space) {
        std::fs::write(self.held(space), "").expect("the folder is ours");
        self.kill(space).await;
    }

    /// Lets a part that is held run again.
    pub fn release(&self, space: Space) {
        // Only who was held has the file.
        let _ = std::fs::remove_file(self.held(space));
        self.story.note(format!("released {}", space.0));
    }

    fn held(&self, space: Space) -> PathBuf {
        self.folder(space).with_extension("held")
    }

    /// Stops the process of a part where it is. Gives its number.
    pub async fn freeze(&self, space: Space) -> u32 {
        let pid = self.process(space).await;
        assert!(signal(pid, "STOP"), "{} is frozen", space.0);
        self.story.note(format!("froze {}", space.0));
        pid
    }

    /// Lets a frozen process go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&self, space: Space, pid: u32) {
        assert!(signal(pid, "CONT"), "{} goes on", space.0);
        self.story.note(format!("thawed {}", space.0));
    }

    /// Takes a node's power: everything that runs there is gone at once, with its network. What it has on disk stays.
    ///
    /// # Panics
    /// When it has no power, or something outlives it.
    pub async fn power_cut(&self, node: Space) {
        assert!(self.boards().cut(node, "the test").await, "it has power");
    }

    /// Whether a node has power.
    #[must_use]
    pub fn has_power(&self, node: Space) -> bool {
        self.running().contains_key(&node)
    }

    /// Gives a node its power back.
    pub fn power_on(&self, node: Space) {
        node.make();
        self.run(node);
        self.story.note(format!("gave {} its power back", node.0));
    }

    /// Cuts a part off in some way, and says so.
    pub fn cut(&self, space: Space, how: &str, cut: impl FnOnce(Space)) {
        cut(space);
        self.story.note(format!("cut {} off: {how}", space.0));
    }

    /// Heals what was cut at a part.
    pub fn heal(&self, space: Space) {
        space.heal();
        self.story.note(format!("healed {}", space.0));
    }
}
