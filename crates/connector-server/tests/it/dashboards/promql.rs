//! Finds metric and label names in PromQL expressions and in the text format. It is no PromQL parser; promtool validates the
//! expressions in the nightly test.

use std::collections::BTreeSet;

use regex::Regex;

/// Labels that Prometheus adds to scraped samples.
pub const ADDED_LABELS: [&str; 2] = ["instance", "job"];

/// A sample of `/metrics`, without its value.
#[derive(Debug)]
pub struct Sample {
    pub metric: String,
    pub labels: Vec<(String, String)>,
}

/// A vector selector, such as `a{b="c"}`.
#[derive(Debug, PartialEq)]
pub struct Selector {
    pub metric: String,
    matchers: Vec<Matcher>,
}

#[derive(Debug, PartialEq)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// The names in an expression.
#[derive(Debug, Default, PartialEq)]
pub struct Names {
    pub selectors: Vec<Selector>,
    /// Labels in grouping and matching clauses.
    pub labels: BTreeSet<String>,
    /// Quoted strings outside selectors, among them labels that the expression creates.
    pub quoted: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Symbol(char),
}

/// Parses the samples of the Prometheus text format.
pub fn samples(metrics: &str) -> Vec<Sample> {
    metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let names = names(line.rsplit_once(' ').unwrap().0);
            let Selector { metric, matchers } = names.selectors.into_iter().next().unwrap();
            let labels = matchers.into_iter().map(|matcher| (matcher.label, matcher.value));
            Sample { metric, labels: labels.collect() }
        })
        .collect()
}

impl Selector {
    /// True if the selector matches the sample. For a matcher with a dashboard variable the label must exist.
    pub fn matches(&self, sample: &Sample) -> bool {
        sample.metric == self.metric
            && self.matchers.iter().all(|matcher| {
                let Matcher { label, operator, value } = matcher;
                if ADDED_LABELS.contains(&label.as_str()) {
                    return true;
                }
                let Some((_, found)) = sample.labels.iter().find(|(name, _)| name == label) else {
                    return false;
                };
                match operator.as_str() {
                    _ if value.starts_with('$') => true,
                    "=" => found == value,
                    "!=" => found != value,
                    "=~" => anchored(value).is_match(found),
                    "!~" => !anchored(value).is_match(found),
                    other => panic!("unknown operator {other}"),
                }
            })
    }
}

fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).unwrap()
}

/// Returns the names in an expression.
pub fn names(expression: &str) -> Names {
    let tokens = tokens(expression);
    let mut found = Names::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Quoted(text) => {
                found.quoted.insert(text.clone());
            }
            Token::Word(word) => match (word.as_str(), tokens.get(at)) {
                ("by" | "without" | "on" | "ignoring" | "group_left" | "group_right", _) => {
                    while let Some(Token::Word(_) | Token::Symbol('(' | ',')) = tokens.get(at) {
                        if let Some(Token::Word(label)) = tokens.get(at) {
                            found.labels.insert(label.clone());
                        }
                        at += 1;
                    }
                }
                // An operator, a function, or an aggregation.
                ("and" | "or" | "unless" | "bool" | "sum" | "max" | "min" | "count", _)
                | (_, Some(Token::Symbol('('))) => {}
                (metric, Some(Token::Symbol('{'))) => {
                    at += 1;
                    let end = at
                        + tokens[at..]
                            .iter()
                            .position(|token| *token == Token::Symbol('}'))
                            .expect("closing brace");
                    let matchers = tokens[at..end]
                        .split(|token| *token == Token::Symbol(','))
                        .filter(|matcher| !matcher.is_empty())
                        .map(matcher)
                        .collect();
                    found.selectors.push(Selector { metric: metric.to_owned(), matchers });
                    at = end + 1;
                }
                (metric, _) => found
                    .selectors
                    .push(Selector { metric: metric.to_owned(), matchers: Vec::new() }),
            },
            Token::Symbol(_) => {}
        }
    }
    found
}

fn matcher(tokens: &[Token]) -> Matcher {
    let [Token::Word(label), symbols @ .., Token::Quoted(value)] = tokens else {
        panic!("not a matcher: {tokens:?}")
    };
    let operator = symbols
        .iter()
        .map(|sign| match sign {
            Token::Symbol(symbol) => *symbol,
            other => panic!("not an operator: {other:?}"),
        })
        .collect();
    Matcher { label: label.clone(), operator, value: value.clone() }
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '"' => {
                let text = rest.by_ref().take_while(|next| *next != '"').collect();
                tokens.push(Token::Quoted(text));
            }
            // A range: `[5m]`, `[$__rate_interval]`.
            '[' => assert!(rest.any(|next| next == ']'), "unclosed range in {expression}"),
            first if first.is_ascii_alphabetic() || first == '_' => {
                let mut word = String::from(first);
                while let Some(next) =
                    rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '_')
                {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            first if first.is_whitespace() || first.is_ascii_digit() || first == '.' => {}
            symbol => tokens.push(Token::Symbol(symbol)),
        }
    }
    tokens
}

#[test]
fn names_are_found_in_all_clauses_of_an_expression() {
    let expression = r#"histogram_quantile(0.5, sum by (le, kind) (rate(a_bucket{x=~"1|2", y!="3"}[5m])))
        / sum(b) > 1.5 or label_replace(c{} unless on (job) d, "cause", "e", "", "")"#;
    let found = names(expression);
    let metrics: Vec<&str> = found.selectors.iter().map(|each| each.metric.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "b", "c", "d"]);
    assert_eq!(found.labels, ["job", "kind", "le"].map(str::to_owned).into());
    assert!(found.quoted.contains("cause"));
}

#[test]
fn selector_matches_like_prometheus() {
    let [sample] = &samples("# HELP a b\na{x=\"1\",y=\"4\"} 7\n")[..] else { panic!() };
    for (selector, expected) in [
        ("a", true),
        ("a{}", true),
        ("b", false),
        (r#"a{x="1"}"#, true),
        (r#"a{x="2"}"#, false),
        (r#"a{x=~"1|2", y!="3"}"#, true),
        (r#"a{x!~"1|2"}"#, false),
        (r#"a{z="1"}"#, false),
        (r#"a{z=~"$z"}"#, false),
        (r#"a{x=~"$x", instance=~"$instance"}"#, true),
    ] {
        assert_eq!(names(selector).selectors[0].matches(sample), expected, "{selector}");
    }
}
