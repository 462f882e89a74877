//! Which credential a call uses: the task's own, else the Secret of its namespace ([`crate::credentials::namespace_secret`]), else the
//! one that the v1 plugin stored, else the connector's own for the workspace. Whose it was is told by name, never by
//! value.

pub(crate) mod namespace_secret;

mod check;
mod own;
mod task;

pub(crate) use check::all as check_all;
pub use check::{Identity, WorkspaceCheck};
pub(crate) use own::{OwnCredential, OwnCredentials};
pub(crate) use task::{TaskCredentials, bearer, of_v1_meta};
