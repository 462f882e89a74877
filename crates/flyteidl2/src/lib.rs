//! Rust bindings of Flyte's connector protocol, `flyteidl2.connector`, and of every message it reaches.
//!
//! The modules are generated from `proto/` by `cargo xtask codegen` and committed: no build script, no protoc.
//! Their names are the proto packages' own, so `flyteidl2.core.Literal` is [`core::Literal`].
//!
//! - Without features: the messages alone, which need prost and nothing else.
//! - `client`: the client stubs of both services.
//! - `server`: the server stubs and service traits of both services.
//!
//! ```
//! use flyteidl2::connector::{CreateTaskRequest, TaskCategory};
//! use prost::Message as _;
//!
//! let bytes = TaskCategory { name: "databricks".into(), version: 0 }.encode_to_vec();
//! assert_eq!(TaskCategory::decode(bytes.as_slice())?.name, "databricks");
//! assert!(CreateTaskRequest::default().template.is_none());
//! # Ok::<(), prost::DecodeError>(())
//! ```

#![forbid(unsafe_code)]

mod connection;

/// Every file of the protocol and what it imports, encoded as a `google.protobuf.FileDescriptorSet`, for the
/// reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");

/// The generated code, behind the one wall that keeps our lints from it.
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
            reason = "generated code is not ours to shape"
        )]
        pub mod $name {
            include!(concat!("gen/", $file));
        }
    };
}

generated!(
    /// Identifiers shared by all of Flyte's services.
    common,
    "flyteidl2.common.rs"
);
generated!(
    /// The two services of a connector, with their requests and answers.
    connector,
    "flyteidl2.connector.rs"
);
generated!(
    /// Task templates, literals, types, identifiers, security, and the error file of a task.
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
        /// Log lines as Flyte's data plane reads them.
        dataplane,
        "flyteidl2.logs.dataplane.rs"
    );
}
