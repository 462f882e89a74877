use std::collections::{BTreeSet, VecDeque};

use super::*;

type Answer = Result<Option<SecretContent>, SecretError>;

/// Returns the answers in order, each after a second. Repeats the last one.
#[derive(Debug)]
struct Scripted(Mutex<(VecDeque<Answer>, u32)>);

impl SecretReader for Scripted {
    fn read<'a>(&'a self, _namespace: &'a str, _name: &'a str) -> SecretFuture<'a> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let answer = match state.0.len() {
            1 => state.0.front().cloned().unwrap(),
            _ => state.0.pop_front().unwrap(),
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer
        })
    }
}

struct World {
    secrets: SecretCredentials,
    reader: Arc<Scripted>,
}

impl World {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let reader = Arc::new(Scripted(Mutex::new((answers.into_iter().collect(), 0))));
        let namespaces = SecretNamespaces::Listed(BTreeSet::from(["team-a".to_owned()]));
        let access =
            SecretAccess { reader: Arc::clone(&reader) as Arc<dyn SecretReader>, namespaces };
        Self { secrets: SecretCredentials::new(access), reader }
    }

    async fn credentials(&self) -> Result<Option<Credentials>, CredentialError> {
        self.secrets.of(&secret("team-a"), None).await
    }

    fn reads(&self) -> u32 {
        self.reader.0.lock().unwrap().1
    }
}

fn secret(namespace: &str) -> SecretName {
    SecretName::new(namespace, DEFAULT_NAME).unwrap()
}

fn text(value: &str) -> SecretString {
    SecretString::from(value.to_owned())
}

fn token(value: &str) -> SecretContent {
    SecretContent { token: Some(text(value)), ..SecretContent::default() }
}

fn principal(id: &str, client_secret: &str) -> SecretContent {
    let (client_id, client_secret) = (Some(text(id)), Some(text(client_secret)));
    SecretContent { token: None, client_id, client_secret }
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let (one, two, three) =
        tokio::join!(world.credentials(), world.credentials(), world.credentials());
    for found in [one, two, three] {
        assert_eq!(
            found.unwrap().unwrap().name(),
            "the Secret databricks-token of namespace team-a"
        );
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn change_is_seen_after_cache_lifetime() {
    let world = World::new([Ok(Some(token("old"))), Ok(None), Ok(Some(principal("id", "s")))]);
    assert_eq!(world.credentials().await.unwrap().unwrap().auth_type(), "pat");
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(world.credentials().await.unwrap().is_some());
    assert_eq!(world.reads(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(world.credentials().await.unwrap().is_none());
    tokio::time::advance(LIFETIME).await;
    assert_eq!(world.credentials().await.unwrap().unwrap().auth_type(), "oauth-m2m");
}

#[tokio::test(start_paused = true)]
async fn failures_are_classified_and_read_again_soon() {
    let transient = SecretError::Transient("it is down".to_owned());
    let permanent = SecretError::Permanent("forbidden".to_owned());
    let world = World::new([Err(transient), Err(permanent), Ok(Some(token("t")))]);
    for (is_transient, kind, words) in [
        (true, ErrorKind::Unavailable, "it is down"),
        (false, ErrorKind::FailedPrecondition, "forbidden"),
    ] {
        let failed = world.credentials().await.unwrap_err();
        assert_eq!((failed.is_transient, failed.error.kind()), (is_transient, kind));
        assert!(failed.error.to_string().contains(words), "{}", failed.error);
        let reads = world.reads();
        assert!(world.credentials().await.is_err());
        assert_eq!(world.reads(), reads, "a failure is cached");
        tokio::time::advance(FAILURE_LIFETIME).await;
    }
    assert!(world.credentials().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn expired_deadline_does_not_wait_for_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let deadline = std::time::Instant::now();
    let failed = world.secrets.of(&secret("team-a"), Some(deadline)).await.unwrap_err();
    assert!(failed.is_transient);
}

#[tokio::test(start_paused = true)]
async fn unlisted_namespace_is_not_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let failed = world.secrets.of(&secret("team-b"), None).await.unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::Forbidden);
    assert_eq!(world.reads(), 0);
    assert!(SecretNamespaces::Every.contain("team-b"));
}

#[test]
fn unchanged_content_keeps_its_credential() {
    let content = |client_secret| principal("id", client_secret);
    let kept = Credentials::oauth_m2m("kept", "id", SecretString::from("one"));
    let name = |client_secret| {
        let last = Some((content("one"), kept.clone()));
        renewed(last, content(client_secret), &secret("team-a")).unwrap().1.name().to_owned()
    };
    assert_eq!(name("one"), "kept");
    assert_ne!(name("two"), "kept");
}

#[test]
fn token_wins_over_principal_and_blanks_count_as_none() {
    let kind = |token: &str, id: &str, client_secret: &str| {
        let content = SecretContent {
            token: Some(text(token)),
            client_id: Some(text(id)),
            client_secret: Some(text(client_secret)),
        };
        credentials_in(&content, &secret("team-a")).map(|found| found.auth_type())
    };
    assert_eq!(kind("t\n", "id", "s"), Some("pat"));
    assert_eq!(kind(" \n", "id", "s"), Some("oauth-m2m"));
    assert_eq!(kind("", "id", ""), None);
    assert_eq!(kind("", "", "s"), None);
}

#[tokio::test(start_paused = true)]
async fn cache_is_bounded() {
    let world = World::new([Ok(None)]);
    for n in 0..=MAX_SECRETS {
        world.secrets.slot(&SecretName::new("team-a", &format!("s{n}")).unwrap());
    }
    assert!(world.secrets.slots.lock().unwrap().len() <= MAX_SECRETS);
}

#[tokio::test(start_paused = true)]
async fn debug_output_contains_no_secret() {
    let world = World::new([Ok(Some(token("dapi-canary")))]);
    world.credentials().await.unwrap();
    assert!(!format!("{:?}", world.secrets).contains("canary"));
}
