//! The search: breadth first, so that the first counterexample is a shortest one. States are remembered as fingerprints of
//! 128 bits; the chance that two of 2^27 states share one is below 2^-74. A path is found again by taking the same choices.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::model::{Model, Step, Successors};
use crate::rule::Invariant;
use crate::state::State;

/// Two lanes of multiply and rotate, fed with eight bytes at a time.
struct Fingerprint {
    lanes: [u64; 2],
    buffer: u64,
    bytes: u32,
}

impl Fingerprint {
    fn of(state: &State) -> u128 {
        let mut hasher = Self { lanes: [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03], buffer: 0, bytes: 0 };
        state.hash(&mut hasher);
        hasher.mix();
        let [a, b] = hasher.lanes.map(finish);
        u128::from(a) << 64 | u128::from(b)
    }

    fn mix(&mut self) {
        let [a, b] = self.lanes;
        self.lanes[0] = (a ^ self.buffer).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29) ^ b;
        self.lanes[1] = (b.rotate_left(23) ^ self.buffer).wrapping_mul(0xc4ce_b9fe_1a85_ec53) ^ (a >> 31);
        self.buffer = 0;
        self.bytes = 0;
    }
}

fn finish(mut lane: u64) -> u64 {
    lane = (lane ^ (lane >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    lane = (lane ^ (lane >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    lane ^ (lane >> 33)
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.buffer = self.buffer << 8 | u64::from(byte);
        self.bytes += 1;
        if self.bytes == 8 {
            self.mix();
        }
    }

    /// Lengths and names of variants are small.
    fn write_usize(&mut self, n: usize) {
        self.write_u8(n as u8);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u8(n as u8);
    }

    fn finish(&self) -> u64 {
        self.lanes[0]
    }
}

/// A fingerprint is its own hash.
#[derive(Default)]
struct Own(u64);

impl Hasher for Own {
    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a search found.
pub(crate) struct Found {
    /// States seen.
    pub states: usize,
    /// States whose quiet end was looked at.
    pub quiet: usize,
    /// The longest path from the start.
    pub depth: usize,
    /// Whether every state within the bounds was seen.
    pub exhaustive: bool,
    /// The first state that breaks something, and the way to it.
    pub counterexample: Option<(Invariant, Vec<Step>)>,
}

/// How far to look.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Most states.
    pub states: usize,
    /// The quiet end of one in so many states is looked at; 0: of none.
    pub quiet_every: u32,
    /// Only this invariant counts.
    pub only: Option<Invariant>,
}

/// Looks at every state that can be reached, until one breaks an invariant.
pub(crate) fn search(model: &Model, limits: Limits) -> Found {
    let mut seen: HashSet<u128, BuildHasherDefault<Own>> = HashSet::default();
    // The way to each state: the number of the state before, and which of its successors it is.
    let mut parents: Vec<(u32, u16)> = vec![(0, 0)];
    let mut waiting: VecDeque<State> = VecDeque::new();
    let mut start = model.start();
    start.sort(model.config.issuers, model.config.operators);
    seen.insert(Fingerprint::of(&start));
    waiting.push_back(start);
    let mut successors = Successors::new();
    let (mut number, mut quiet) = (0u32, 0);
    let (mut depth, mut level_ends) = (0, 1);
    while let Some(state) = waiting.pop_front() {
        if number as usize == level_ends {
            depth += 1;
            level_ends = parents.len();
        }
        successors.clear();
        model.successors(&state, &mut successors);
        for (choice, (_, next)) in successors.iter_mut().enumerate() {
            next.sort(model.config.issuers, model.config.operators);
            let fingerprint = Fingerprint::of(next);
            if !seen.insert(fingerprint) {
                continue;
            }
            parents.push((number, choice as u16));
            let mut broken = model.broken(next);
            if broken.is_none() && limits.quiet_every > 0 && (fingerprint as u32).is_multiple_of(limits.quiet_every) {
                let end = model.broken_when_quiet(next);
                quiet += usize::from(end.is_some());
                broken = end.flatten();
            }
            if let Some(invariant) = broken.filter(|found| limits.only.is_none_or(|only| only == *found)) {
                let steps = way(model, &parents, parents.len() - 1);
                let counterexample = Some((invariant, steps));
                return Found { states: seen.len(), quiet, depth: depth + 1, exhaustive: false, counterexample };
            }
            waiting.push_back(*next);
        }
        number += 1;
        if seen.len() >= limits.states {
            return Found { states: seen.len(), quiet, depth, exhaustive: false, counterexample: None };
        }
    }
    Found { states: seen.len(), quiet, depth, exhaustive: true, counterexample: None }
}

/// The steps from the start to a state.
fn way(model: &Model, parents: &[(u32, u16)], mut number: usize) -> Vec<Step> {
    let mut choices = Vec::new();
    while number > 0 {
        let (before, choice) = parents[number];
        choices.push(usize::from(choice));
        number = before as usize;
    }
    let mut state = model.start();
    let mut successors = Successors::new();
    // Steps are told with the numbers that everybody had at the start.
    let [mut issuers, mut operators] = state.sort(model.config.issuers, model.config.operators);
    let take = |choice: usize| {
        successors.clear();
        model.successors(&state, &mut successors);
        let (mut step, next) = successors[choice];
        step.who ^=
            usize::from(issuers && step.text.starts_with("issuer") || operators && step.text.starts_with("operator"));
        state = next;
        let [changed_issuers, changed_operators] = state.sort(model.config.issuers, model.config.operators);
        issuers ^= changed_issuers;
        operators ^= changed_operators;
        step
    };
    choices.into_iter().rev().map(take).collect()
}
