//! The SQL database. Every winner becomes one row of the table `issued_coupon` (see `migrations/`).
//!
//! Consumer, issuer and operator all insert rows with [`store`], and nothing else inserts any. A stored row is never replaced or
//! deleted; [`forget`] replaces the user id in it by a pseudonym.

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
mod options;
pub mod probe;
mod removed;
mod row;
mod script;
mod session;
mod store;
mod terms;
mod trust;

pub use barrier::{Barrier, Barriers};
pub use barriers::{barriers, barriers_of_dead_letters};
pub use campaign::{
    EpochCommit, LedgerNumbers, allot_epoch, announce_topic, begin_epoch, commit_barrier, count_rows_of, count_stored,
    find, held_by, read_ranks, read_rows, register, register_in, set_issued_count, set_topic, try_set_issued_count,
};
pub use connect::{connect, explained};
pub use count::{Highest, ServerQuestion, count_between, highest_rank, highest_rank_up_to};
pub use custody::{Heir, hold, note_closed, note_fenced, rename_owner, take_over};
pub use direct::{has_unpublished, set_published, unpublished};
pub use discard::{discard, discarded, discarded_among, discarded_ranks};
pub use discard_record::{discard_record, discarded_records, is_discarded, is_discarded_anywhere};
pub use drained::{drained, set_drained};
pub use error::{DatabaseError, Fault, within};
pub use forgotten::{
    Pseudonyms, campaigns_of, forget, forgotten_number, key_of as key_of_pseudonym, new_pseudonym, pseudonyms, ranks_of,
};
pub use lookup::{are_rows, rows_in_the_way};
pub use migrate::{Migration, migrate, migrations};
pub use moved::has_moved_since;
pub use open::open_epoch;
pub use opened::{OpenedWindow, claim, set_opened};
pub use removed::set_keys_removed;
pub use row::{CampaignRow, CampaignRowId, Custody, TopicClaim, Unfenced};
pub use script::{VIEWS, script};
pub use store::{LoggedWinner, RowOutcome, StoreMode, Stored, store};
pub use terms::{TotalSet, allot_terms, set_total};
