//! The SQL side: every winner ends as one row of `issued_coupon` (`migrations/`).
//!
//! [`store`] is the only way in which a row comes to be, for consumer, issuer and operator alike. No stored row is ever
//! replaced or deleted; [`forget`] puts one under a pseudonym.

mod barrier;
mod barriers;
mod campaign;
mod connect;
mod count;
mod custody;
mod direct;
mod discard;
mod discard_record;
mod drained;
mod error;
mod forgotten;
mod lookup;
mod migrate;
mod moved;
mod open;
mod opened;
mod position;
pub mod probe;
mod removed;
mod script;
mod session;
mod store;
mod terms;
mod trust;

pub use barrier::{Barrier, Barriers};
pub use barriers::{barriers, barriers_of_dead_letters};
pub use campaign::{
    CampaignRow, CampaignRowId, EpochCommit, Numbers, allot_epoch, begin_epoch, commit_barrier, count_rows_of,
    count_stored, find, held_by, read_ranks, read_rows, register, register_in, set_issued_count, set_topic,
    try_set_issued_count,
};
pub use connect::{connect, explained};
pub use count::{Highest, ServerQuestion, count_between, highest_rank};
pub use custody::{Custody, Heir, Unfenced, hold, note_closed, note_fenced, rename_owner, take_over};
pub use direct::{has_unpublished, set_published, unpublished};
pub use discard::{discard, discarded, discarded_among, discarded_ranks};
pub use discard_record::{discard_record, discarded_records, is_discarded};
pub use drained::{drained, set_drained};
pub use error::{Fault, TableError, within};
pub use forgotten::{
    Pseudonyms, campaigns_of, forget, forgotten_number, key_of as key_of_pseudonym, new_pseudonym, pseudonyms, ranks_of,
};
pub use lookup::rows_in_the_way;
pub use migrate::{Migration, migrate, migrations};
pub use moved::has_moved_since;
pub use open::open_epoch;
pub use opened::{OpenedWindow, claim, set_opened};
pub use position::{Position, RecordPlace};
pub use removed::set_keys_removed;
pub use script::script;
pub use store::{EPOCHS_AHEAD, LoggedWinner, RowOutcome, StoreMode, Stored, store};
pub use terms::{TotalSet, allot_terms, set_total};
