//! Where a host finds the nearest repository: rules, what is declared of repositories, and what is known of
//! them. Nothing here decides; `policy::nearest` does.

mod address;
mod declared;
mod distances;
mod host;
mod reply;
mod rule;
mod slots;
mod standing;
mod word;

pub use address::{RepositoryUrl, RepositoryUrlError};
pub(crate) use declared::encode;
pub use declared::{Declared, MAX_DISTANCE, NearestKey};
pub use distances::{Distances, SitePair};
pub use host::{Host, HostError, MAX_HOST_ADDRESSES};
pub use reply::{NEAREST_PATH, NearestQuery, NearestReply, PassedOverReply, PlaceReply};
pub use rule::{Condition, ConditionError, MAX_RULES, Rule, RuleError, RuleName, Target, Wildcard};
pub use slots::{MAX_SLOT_BYTES, SLOTS, Slot, SlotSet, SlotsError, slot_of};
pub use standing::{Holds, Standing};
pub use word::{UrlWord, UrlWordError};
