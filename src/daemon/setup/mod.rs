//! `wuasync setup`: from what a machine is to a running node, in an order that a person could follow by hand.
//!
//! 1. `facts` looks at the machine, and changes nothing.
//! 2. `choices` takes what was wished, else what files say already, else what a WAPT server or secondary here does, else
//!    what is usual. Each choice says why.
//! 3. `plan` turns choices into steps: files with their contents, and commands. What is so already is no step, so a second
//!    run has none. What a person must do (WAPT's own configuration is theirs) it says.
//! 4. `act` does the steps.
//!
//! Owns one file, `conf.d/setup.toml`, and touches no other settings. What somebody wrote is overridden or replaced only
//! where that was agreed to.

mod act;
mod choices;
mod facts;
mod key;
mod plan;
mod settings;

pub use act::{ActError, Secrets, act};
pub use choices::{Choice, ChoiceError, Choices, choose};
pub use facts::{Facts, FactsError, OnDisk, gather, look};
pub use key::Key;
pub use plan::{Input, PlanError, SetupPlan, Step, Wanted, places, plan};
