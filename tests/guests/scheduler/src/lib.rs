//! A scheduler that misbehaves in one way, chosen by a feature; without one it takes the first row that fits.
//!
//! It behaves until it is configured with `{"after": N}`: then its first N batches are answered well, and no other. So it
//! passes the check of an upload, as a real attacker would.

use symphony_sdk::scheduler::{Batch, Decisions, Delta, Descriptor, Engine, Error, Snapshot, Stamp};
use symphony_sdk::{Candidate, Policy, RawScheduler, Request, Score};

/// What the guest is called: the behaviour's name.
const NAME: &str = if cfg!(feature = "unknown-node") {
    "unknown-node"
} else if cfg!(feature = "overcommit") {
    "overcommit"
} else if cfg!(feature = "too-few") {
    "too-few"
} else if cfg!(feature = "too-many") {
    "too-many"
} else if cfg!(feature = "endless-loop") {
    "endless-loop"
} else if cfg!(feature = "memory-bomb") {
    "memory-bomb"
} else if cfg!(feature = "huge-answer") {
    "huge-answer"
} else if cfg!(feature = "trap") {
    "trap"
} else if cfg!(feature = "nan-score") {
    "nan-score"
} else if cfg!(feature = "stale-forever") {
    "stale-forever"
} else if cfg!(feature = "wrong-digest") {
    "wrong-digest"
} else if cfg!(feature = "log-flood") {
    "log-flood"
} else {
    "well-behaved"
};

/// The first row that fits.
#[derive(Default)]
struct FirstFit;

impl Policy for FirstFit {
    const NAME: &'static str = NAME;

    fn score(&self, _request: &Request<'_>, _node: &Candidate<'_>) -> Score {
        Score::part("first", 1.0)
    }

    fn configure(&mut self, _json: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Answers well, then not.
#[derive(Default)]
struct Hostile {
    engine: Engine<FirstFit>,
    rows: u32,
    well: u32,
}

impl RawScheduler for Hostile {
    fn describe() -> Descriptor {
        Engine::<FirstFit>::describe()
    }

    fn configure(&mut self, json: &str) -> Result<(), Error> {
        let digits: String = json.chars().filter(char::is_ascii_digit).collect();
        self.well = digits.parse().unwrap_or(u32::MAX);
        Ok(())
    }

    fn load(&mut self, snapshot: Snapshot) -> Result<Stamp, Error> {
        self.rows = snapshot.rows;
        let stamp = self.engine.load(snapshot)?;
        Ok(if cfg!(feature = "wrong-digest") && self.well == 0 {
            Stamp {
                digest: !stamp.digest,
                ..stamp
            }
        } else {
            stamp
        })
    }

    fn update(&mut self, delta: Delta) -> Result<Stamp, Error> {
        self.engine.update(delta)
    }

    fn place(&mut self, batch: Batch) -> Result<Decisions, Error> {
        let answer = self.engine.place(batch)?;
        if self.well > 0 {
            self.well -= 1;
            return Ok(answer);
        }
        self.spoil(answer)
    }

    fn explain(&mut self, batch: Batch) -> Result<Vec<symphony_sdk::scheduler::Verdict>, Error> {
        self.engine.explain(batch)
    }
}

impl Hostile {
    fn spoil(&self, mut answer: Decisions) -> Result<Decisions, Error> {
        match NAME {
            "unknown-node" => answer.rows.fill(self.rows + 7),
            "overcommit" => {
                answer.rows.fill(0);
                answer.unplaceable.clear();
            }
            "too-few" => {
                answer.rows.pop();
                answer.scores.pop();
            }
            "too-many" => {
                answer.rows.push(0);
                answer.scores.push(1.0);
            }
            "endless-loop" => loop {
                std::hint::black_box(&answer);
            },
            "memory-bomb" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&hoard);
                }
            }
            // 25 million numbers of 4 bytes.
            "huge-answer" => answer.rows = vec![0; 25_000_000],
            "trap" => panic!("this guest was told to trap"),
            "nan-score" => answer.scores.fill(f32::NAN),
            "stale-forever" => return Err(Error::Stale(answer.at)),
            "log-flood" => (0..100_000).for_each(|_| symphony_sdk::log::warn(&"flood ".repeat(1000))),
            _ => {}
        }
        Ok(answer)
    }
}

symphony_sdk::export_raw_scheduler!(Hostile);
