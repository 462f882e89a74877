//! The ways to mint a token.

use std::{
    hash::{Hash as _, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ClientSecret, Credentials, Minting, SubjectToken,
    azure::{Azure, Proof},
    google::Google,
    oauth::{Federation, M2m},
    token::Token,
};
use crate::Error;

/// A token file is read again after this long: the skew of a token's end, and ten seconds of use.
const FILE_LIFETIME: Duration = Duration::from_secs(50);

/// Whoever mints tokens beside the workspaces, in place of the clouds' own. For tests, and for clouds that are not
/// reached by their usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    /// In place of `https://login.microsoftonline.com/`.
    pub azure_login: Option<String>,
    /// In place of `http://169.254.169.254`.
    pub azure_machine: Option<String>,
    /// In place of `http://metadata.google.internal`.
    pub google_machine: Option<String>,
    /// In place of `https://iamcredentials.googleapis.com`.
    pub google_iam: Option<String>,
}

/// A way to mint a token.
#[derive(Debug, Clone)]
pub(super) enum Flow {
    TokenFile(SubjectToken),
    M2m(M2m),
    Federation(Federation),
    Azure(Azure),
    Google(Google),
}

impl Flow {
    /// The name of the kind (DA §4.2).
    pub(super) fn auth_type(&self) -> &'static str {
        match self {
            Self::TokenFile(_) => "pat",
            Self::M2m(_) => "oauth-m2m",
            Self::Federation(Federation { subject: SubjectToken::File(_), .. }) => "file-oidc",
            Self::Federation(Federation { subject: SubjectToken::Variable(..), .. }) => "env-oidc",
            Self::Azure(Azure { proof: Proof::Secret { .. }, .. }) => "azure-client-secret",
            Self::Azure(Azure { proof: Proof::ManagedIdentity { .. }, .. }) => "azure-msi",
            Self::Azure(Azure { proof: Proof::Assertion { .. }, .. }) => "azure-workload-identity",
            Self::Google(_) => "google-id",
        }
    }

    pub(super) async fn mint(
        &self,
        credentials: &Credentials,
        authorities: &Authorities,
        minting: &Minting<'_>,
    ) -> Result<Token, Error> {
        match self {
            Self::TokenFile(file) => Ok(Token::new(file.read()?, Instant::now(), FILE_LIFETIME)),
            Self::M2m(flow) => flow.mint(credentials, minting).await,
            Self::Federation(flow) => flow.mint(credentials, minting).await,
            Self::Azure(flow) => flow.mint(credentials, authorities, minting).await,
            Self::Google(flow) => flow.mint(credentials, authorities, minting).await,
        }
    }

    /// The secret that is sent to an authority, where there is one.
    pub(super) fn secret(&self) -> Option<&ClientSecret> {
        match self {
            Self::M2m(M2m { client_secret, .. })
            | Self::Azure(Azure { proof: Proof::Secret { client_secret, .. }, .. }) => {
                Some(client_secret)
            }
            Self::TokenFile(_) | Self::Federation(_) | Self::Azure(_) | Self::Google(_) => None,
        }
    }

    /// Everything that tells this credential from another of its kind.
    pub(super) fn identity(&self, hasher: &mut impl Hasher) {
        self.secret().hash(hasher);
        match self {
            Self::TokenFile(subject) => format!("{subject:?}").hash(hasher),
            Self::M2m(M2m { client_id, .. }) => client_id.hash(hasher),
            Self::Federation(Federation { client_id, subject }) => {
                (client_id, format!("{subject:?}")).hash(hasher);
            }
            Self::Azure(Azure { proof, cloud }) => {
                cloud.hash(hasher);
                match proof {
                    Proof::Secret { tenant_id, client_id, .. } => {
                        (tenant_id, client_id).hash(hasher);
                    }
                    Proof::Assertion { tenant_id, client_id, subject } => {
                        (tenant_id, client_id, format!("{subject:?}")).hash(hasher);
                    }
                    Proof::ManagedIdentity { client_id } => client_id.hash(hasher),
                }
            }
            Self::Google(Google { service_account }) => service_account.hash(hasher),
        }
    }
}
