use std::collections::VecDeque;

use super::*;

type Answer = Result<Option<SecretContent>, SecretTrouble>;

/// Answers in turn, each after a second, and the last one for ever.
#[derive(Debug)]
struct Scripted(Mutex<(VecDeque<Answer>, u32)>);

impl NamespaceSecrets for Scripted {
    fn read<'a>(&'a self, _namespace: &'a str, _name: &'a str) -> SecretReading<'a> {
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
            SecretAccess { reader: Arc::clone(&reader) as Arc<dyn NamespaceSecrets>, namespaces };
        Self { secrets: SecretCredentials::new(access), reader }
    }

    async fn ask(&self) -> Result<Option<Credentials>, NoSecret> {
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
async fn those_who_ask_at_once_share_one_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let (one, two, three) = tokio::join!(world.ask(), world.ask(), world.ask());
    for found in [one, two, three] {
        assert_eq!(
            found.unwrap().unwrap().name(),
            "the Secret databricks-token of namespace team-a"
        );
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_after_half_a_minute() {
    let world = World::new([Ok(Some(token("old"))), Ok(None), Ok(Some(principal("id", "s")))]);
    assert_eq!(world.ask().await.unwrap().unwrap().auth_type(), "pat");
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(world.ask().await.unwrap().is_some());
    assert_eq!(world.reads(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(world.ask().await.unwrap().is_none());
    tokio::time::advance(LIFE).await;
    assert_eq!(world.ask().await.unwrap().unwrap().auth_type(), "oauth-m2m");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_by_its_kind_and_soon_asked_about_again() {
    let passing = SecretTrouble::Passing("it is down".to_owned());
    let lasting = SecretTrouble::Lasting("forbidden".to_owned());
    let world = World::new([Err(passing), Err(lasting), Ok(Some(token("t")))]);
    for (trouble, kind, words) in [
        (PollFailure::Transient, ErrorKind::Unavailable, "it is down"),
        (PollFailure::Rejected, ErrorKind::FailedPrecondition, "forbidden"),
    ] {
        let no = world.ask().await.unwrap_err();
        assert_eq!((no.trouble, no.error.kind()), (trouble, kind));
        assert!(no.error.to_string().contains(words), "{}", no.error);
        let reads = world.reads();
        assert!(world.ask().await.is_err());
        assert_eq!(world.reads(), reads, "a failure is not repeated at once");
        tokio::time::advance(LIFE_OF_TROUBLE).await;
    }
    assert!(world.ask().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_does_not_wait_for_the_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let deadline = std::time::Instant::now();
    let no = world.secrets.of(&secret("team-a"), Some(deadline)).await.unwrap_err();
    assert_eq!(no.trouble, PollFailure::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_listed_is_not_read() {
    let world = World::new([Ok(Some(token("t")))]);
    let no = world.secrets.of(&secret("team-b"), None).await.unwrap_err();
    assert_eq!(no.error.kind(), ErrorKind::Forbidden);
    assert_eq!(world.reads(), 0);
    assert!(SecretNamespaces::Every.contain("team-b"));
}

#[test]
fn the_same_content_keeps_the_tokens_that_were_minted_for_it() {
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
fn a_token_comes_before_a_principal_and_blanks_count_as_none() {
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
async fn memory_is_bounded() {
    let world = World::new([Ok(None)]);
    for n in 0..=MAX_SECRETS {
        world.secrets.slot(&SecretName::new("team-a", &format!("s{n}")).unwrap());
    }
    assert!(world.secrets.slots.lock().unwrap().len() <= MAX_SECRETS);
}

#[tokio::test(start_paused = true)]
async fn no_value_is_shown() {
    let world = World::new([Ok(Some(token("dapi-canary")))]);
    world.ask().await.unwrap();
    assert!(!format!("{:?}", world.secrets).contains("canary"));
}
