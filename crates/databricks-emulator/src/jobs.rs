//! Job runs: what is submitted, how a run proceeds, and how the API shows it.
//!
//! A body is checked by [`validation`], becomes a [`run`] in the [`run_store`], moves along its [`timeline`] as its
//! [`script`] says (or as its process does, with [`exec`]), and is shown as JSON by [`responses`].

mod cluster;
pub(crate) mod exec;
mod log_delivery;
pub(crate) mod responses;
pub(crate) mod run;
pub(crate) mod run_store;
pub(crate) mod script;
mod termination;
mod timeline;
pub(crate) mod validation;
