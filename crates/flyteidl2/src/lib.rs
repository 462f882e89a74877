//! Rust bindings of Flyte's connector protocol, `flyteidl2.connector`, and of all messages that it uses.
//!
//! `cargo xtask codegen` generates the modules from `proto/`; the output is committed, so that a build needs neither a
//! build script nor protoc. Modules are named after proto packages: `flyteidl2.core.Literal` is [`core::Literal`].
//!
//! Features:
//!
//! - none: messages only, which depend on prost alone.
//! - `client`: client stubs of both services.
//! - `server`: server stubs and service traits of both services.
//!
//! ```
//! use flyteidl2::connector::{CreateTaskRequest, TaskCategory};
//! use flyteidl2::prost::{DecodeError, Message as _};
//!
//! let bytes = TaskCategory { name: "databricks".into(), version: 0 }.encode_to_vec();
//! assert_eq!(TaskCategory::decode(bytes.as_slice())?.name, "databricks");
//! assert!(CreateTaskRequest::default().template.is_none());
//! # Ok::<(), DecodeError>(())
//! ```

#![forbid(unsafe_code)]

// Crates whose types appear in this API.
#[cfg(any(feature = "client", feature = "server"))]
pub use tonic;
pub use {prost, prost_types};

/// Compiles the examples in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod connection;

/// Encoded `google.protobuf.FileDescriptorSet` of the protocol's files and their imports, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");

/// Declares a module of generated code, exempt from lints.
macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::pedantic,
            clippy::restriction,
            rustdoc::all,
            reason = "generated code"
        )]
        pub mod $name {
            include!(concat!("gen/", $file));
        }
    };
}

generated!(
    /// Identifiers shared by Flyte's services.
    common,
    "flyteidl2.common.rs"
);
generated!(
    /// The two connector services with their requests and responses.
    connector,
    "flyteidl2.connector.rs"
);
generated!(
    /// Task templates, literals, types, identifiers, security contexts, and the error file of a task.
    core,
    "flyteidl2.core.rs"
);
generated!(
    /// Inputs and outputs of a task.
    task,
    "flyteidl2.task.rs"
);

/// Log lines.
pub mod logs {
    generated!(
        /// Log lines of Flyte's data plane.
        dataplane,
        "flyteidl2.logs.dataplane.rs"
    );
}
