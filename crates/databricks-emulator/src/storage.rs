//! Files: those of the workspace, and those of DBFS and Unity Catalog volumes.

pub(crate) mod data_files;
pub(crate) mod workspace_files;
