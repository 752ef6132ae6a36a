//! Volumes as files in a pool's directory: sparse, raw, shared with the image's blocks where the file system can.
//!
//! The plan always starts from what is on disk now, so it does not matter how far an earlier one came. Three rules hold
//! in every state: a volume is published only with its whole content and size, it never shrinks, and a partial object
//! whose content is not known to be whole is started over.

mod plan;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use symphony_sdk::VolumeDriver;
use symphony_sdk::driver::volume::{Fact, ImageFact, ImageState, Intent, ObjectState, PoolFact, Probe, Step};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct File;

impl VolumeDriver for File {
    const NAME: &'static str = "file";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        let object = Probe::Object(intent.object.clone());
        match (&intent.source, intent.goal) {
            (Some(source), Goal::Present) => vec![object, Probe::Image(source.digest.clone()), Probe::Pool],
            _ => vec![object],
        }
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let seen = Seen::new(intent, facts)?;
        match intent.goal {
            Goal::Absent => Ok(plan::absent(intent, seen.object)),
            Goal::Present => plan::present(intent, &seen),
        }
    }
}

symphony_sdk::export_volume_driver!(File);

/// The facts that concern this intent.
struct Seen<'a> {
    object: &'a ObjectState,
    image: Option<ImageState>,
    pool: Option<PoolFact>,
}

impl<'a> Seen<'a> {
    fn new(intent: &Intent, facts: &'a [Fact]) -> Result<Self, Refusal> {
        let (mut object, mut image, mut pool) = (None, None, None);
        for fact in facts {
            match fact {
                Fact::Object(fact) if fact.object == intent.object => object = Some(&fact.state),
                Fact::Image(ImageFact { digest, state })
                    if intent.source.as_ref().is_some_and(|source| source.digest == *digest) =>
                {
                    image = Some(*state);
                }
                Fact::Pool(fact) => pool = Some(*fact),
                Fact::Object(_) | Fact::Image(_) => {}
            }
        }
        let object = object.ok_or_else(|| lacks("the state of the volume"))?;
        Ok(Self { object, image, pool })
    }
}

/// A fact that was asked for and did not come: unknown is not absent.
fn lacks(fact: &str) -> Refusal {
    Refusal::Unavailable(format!("the node did not report {fact}"))
}
