//! Which ranks are counted next, and what the counts say together. Pure.
//!
//! Ranks lie in pages. A page keeps its last count and is counted again all the time, so that rows which a database loses are
//! missed; a full page seldom, one that can still grow often. What a pass counts is bounded, wherever the holes are.

use coupon_ledger::database::{CampaignRow, CampaignRowId};

/// Ranks of one page.
pub const PAGE: u64 = 100_000;
/// Every page is counted again within this time, in milliseconds, unless [`PACE_MS`] forbids it.
pub const VERIFY_MS: i64 = 45_000;
/// Counting again takes this long per page at least, in milliseconds: it must not become what the database does all day.
pub const PACE_MS: i64 = 300;
/// Servers that are told apart. Behind a pool there may be several.
const MAX_SERVERS: usize = 8;

/// How much a pass counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// What is due, and of the pages that can grow as many as the time allows.
    Usual,
    /// All pages that can grow as well.
    Growing,
    /// All pages.
    Whole,
}

/// Why counts were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecountReason {
    /// Another row of the campaign, an epoch that is not the one it was, or terms that are older.
    Campaign,
    /// A server that was not known.
    Server,
    /// Fewer rows than there were.
    FewerRows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    rows: u64,
    /// In which pass.
    pass: u64,
    at_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    row: CampaignRowId,
    epoch: u64,
    terms: u64,
}

/// The counts of one campaign. Losing them costs counting it once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    origin: Option<Origin>,
    servers: Vec<String>,
    /// Grows whenever counts are forgotten.
    generation: u64,
    /// The number of this pass, and when it began.
    pass: u64,
    began_ms: Option<i64>,
    /// How many more pages this pass counts again because their time has come.
    quota: i64,
    /// Highest rank that was a row.
    highest: u64,
    /// First page first; `None`: not counted since all was forgotten.
    counts: Vec<Option<Counted>>,
    /// Most rows that were ever counted.
    had: u64,
}

fn index(page: usize) -> u64 {
    u64::try_from(page).unwrap_or(u64::MAX)
}

/// First and last rank of a page.
pub fn ranks(page: usize) -> (u64, u64) {
    (index(page) * PAGE + 1, (index(page) + 1) * PAGE)
}

impl Pages {
    /// Begins a pass: what the database says of the campaign, which server says it, and the highest rank that is a row.
    pub fn begin(&mut self, row: &CampaignRow, server: &str, highest: u64, now_ms: i64) -> Option<RecountReason> {
        let origin = Origin { row: row.id, epoch: row.epoch, terms: row.terms_number };
        let other = self.origin.replace(origin).is_some_and(|before| {
            before.row != origin.row || before.epoch != origin.epoch || before.terms > origin.terms
        });
        let known = self.servers.iter().any(|each| each == server);
        let stranger = !known && !self.servers.is_empty();
        if !known {
            self.servers.truncate(MAX_SERVERS - 1);
            self.servers.insert(0, server.to_owned());
        }
        let why = match () {
            () if other => Some(RecountReason::Campaign),
            () if stranger => Some(RecountReason::Server),
            () if highest < self.highest => Some(RecountReason::FewerRows),
            () => None,
        };
        if why.is_some() {
            self.forget();
        }
        self.highest = highest;
        self.counts.resize(usize::try_from(highest.div_ceil(PAGE)).unwrap_or(usize::MAX), None);
        let since_ms = self.began_ms.replace(now_ms).map_or(0, |before| now_ms - before).max(0);
        let pages = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
        let round = |value: i64, by: i64| value.saturating_add(by - 1) / by;
        self.quota = round(since_ms.saturating_mul(pages), VERIFY_MS).min(round(since_ms, PACE_MS));
        self.pass += 1;
        why
    }

    /// All pages are counted anew.
    pub fn forget(&mut self) {
        self.generation += 1;
        self.counts.iter_mut().for_each(|each| *each = None);
    }

    /// The page to count next in this pass. `at_leisure`: there is time for more than what must be.
    pub fn next(&mut self, effort: Effort, at_leisure: bool) -> Option<usize> {
        let top = self.counts.len().checked_sub(1)?;
        if let Some(page) = self.counts.iter().position(Option::is_none) {
            return Some(page);
        }
        if self.is_waiting(top) {
            return Some(top);
        }
        let oldest = |wanted: &dyn Fn(usize) -> bool| {
            let waiting = (0..=top).filter(|page| self.is_waiting(*page) && wanted(*page));
            waiting.min_by_key(|page| self.counts[*page].map(|count| (count.pass, *page)))
        };
        if effort == Effort::Whole {
            return oldest(&|_| true);
        }
        if self.quota > 0 {
            let due = oldest(&|_| true);
            self.quota -= 1;
            return due;
        }
        oldest(&|page| !self.is_full(page)).filter(|_| at_leisure || effort == Effort::Growing)
    }

    /// Takes in the count of a page. True: it has lost rows, and all is forgotten but this.
    pub fn record(&mut self, page: usize, rows: u64, now_ms: i64) -> bool {
        let Some(before) = self.counts.get(page).copied() else { return false };
        let fewer = before.is_some_and(|before| rows < before.rows);
        if fewer {
            self.forget();
        }
        self.counts[page] = Some(Counted { rows, pass: self.pass, at_ms: now_ms });
        if let Some(stored) = self.stored() {
            self.had = self.had.max(stored);
        }
        fewer
    }

    fn is_waiting(&self, page: usize) -> bool {
        self.counts[page].is_some_and(|count| count.pass != self.pass)
    }

    fn is_full(&self, page: usize) -> bool {
        self.counts.get(page).copied().flatten().is_some_and(|count| count.rows == PAGE)
    }

    /// Rows in all; `None` while some page is not counted.
    pub fn stored(&self) -> Option<u64> {
        self.counts.iter().map(|each| each.map(|count| count.rows)).sum()
    }

    /// Highest rank that is a row.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Most rows there ever were, as far as is known.
    pub fn had(&self) -> u64 {
        self.had
    }

    /// Somebody else remembers that there were so many rows.
    pub fn remember(&mut self, rows: u64) {
        self.had = self.had.max(rows);
    }

    /// Whether every page was counted in this pass.
    pub fn are_whole(&self) -> bool {
        self.began_ms.is_some()
            && self.counts.iter().flatten().filter(|count| count.pass == self.pass).count() == self.counts.len()
    }

    /// Whether every page that can grow was counted in this pass.
    pub fn growing_are_counted(&self) -> bool {
        (0..self.counts.len()).all(|page| self.is_full(page) || !self.is_waiting(page)) && self.stored().is_some()
    }

    /// How long ago the page was counted that was counted longest ago, in milliseconds.
    pub fn age_ms(&self, now_ms: i64) -> i64 {
        self.counts.iter().flatten().map(|count| now_ms - count.at_ms).max().unwrap_or(0)
    }

    /// How often all was forgotten.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The last rank of the page of `rank`, and whether all of its ranks are rows.
    pub fn page_of(&self, rank: u64) -> (u64, bool) {
        let page = rank.saturating_sub(1) / PAGE;
        let place = usize::try_from(page).unwrap_or(usize::MAX);
        ((page + 1) * PAGE, self.is_full(place))
    }
}

#[cfg(test)]
mod tests;
