//! Which credential a call uses: the task's own, else the Secret of its namespace ([`crate::namespace_secret`]), else the
//! one that the v1 plugin stored, else the connector's own for the workspace. Whose it was is told by name, never by
//! value.

mod check;
mod own;
mod task;
mod workspaces;

pub(crate) use check::all as check_all;
pub use check::{Identity, WorkspaceCheck};
pub(crate) use own::{OwnCredential, OwnCredentials};
pub(crate) use task::{TaskCredentials, bearer, of_v1_meta};
pub use workspaces::{Workspaces, WorkspacesError};
