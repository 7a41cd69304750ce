//! The rights of operator and pods, read from the place that tells people to grant them: README. What stands there is what is tried.

use anyhow::{Context, Result, ensure};

use super::brokers::Acl;

/// Read when it is needed: to compile it in would compile everything anew with each of its changes.
fn readme() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// Who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator.
    Operator,
    /// Issuers and consumers.
    Pods,
}

/// The rules of a user of Redis, as `ACL SETUSER` takes them.
///
/// # Errors
/// README has none.
pub fn redis(who: Who) -> Result<String> {
    let begin = match who {
        Who::Operator => "ACL SETUSER coupon-operator on >PASSWORD ",
        Who::Pods => "ACL SETUSER coupon-pods on >PASSWORD ",
    };
    let readme = readme()?;
    let rules = readme.lines().find_map(|line| line.strip_prefix(begin));
    rules.map(str::to_owned).with_context(|| format!("README has no line `{begin}...`"))
}

/// The database's privileges, as `GRANT` wants them.
///
/// # Errors
/// README has none.
pub fn database(who: Who) -> Result<String> {
    let heading = match who {
        Who::Operator => "| the operator's user | needs |",
        Who::Pods => "| the pods' user | needs |",
    };
    let readme = readme()?;
    let (_, table) = readme.split_once(heading).with_context(|| format!("README has no table `{heading}`"))?;
    let row =
        table.lines().skip(1).take_while(|line| line.starts_with('|')).find(|line| line.starts_with("| database |"));
    let quoted = row.with_context(|| format!("`{heading}` has no row for the database"))?.split('`').skip(1).step_by(2);
    let privileges = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || ", ".contains(c));
    let all: Vec<&str> = quoted.filter(privileges).collect();
    ensure!(!all.is_empty(), "`{heading}` names no privilege of the database");
    Ok(all.join(", "))
}

/// Kafka's ACLs for this realm, and these names of operator and pods.
///
/// # Errors
/// A line of README cannot be understood.
pub fn kafka(realm: &str, operator: &str, pods: &str) -> Result<Vec<Acl>> {
    let mut all = Vec::new();
    for line in readme()?.lines().filter(|line| line.starts_with("kafka-acls.sh ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let after =
            |flag: &str| -> Vec<&str> { words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect() };
        ensure!(words.contains(&"--add") && after("--resource-pattern-type") == ["prefixed"], "not understood: {line}");
        let user = match after("--allow-principal")[..] {
            ["User:coupon-operator"] => operator,
            ["User:coupon-pods"] => pods,
            _ => anyhow::bail!("whose right is this: {line}"),
        };
        let kind = if words.contains(&"--topic") { "topic" } else { "group" };
        ensure!(after(&format!("--{kind}")) == ["prod."], "not understood: {line}");
        let acl = |operation: &str| Acl {
            user: user.to_owned(),
            kind: kind.to_owned(),
            prefix: format!("{realm}."),
            operation: operation.to_owned(),
            denies: false,
        };
        all.extend(after("--operation").into_iter().map(acl));
    }
    ensure!(!all.is_empty(), "README has no ACLs for Kafka");
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_is_understood() {
        let (pods, operator) = (redis(Who::Pods).unwrap(), redis(Who::Operator).unwrap());
        assert!(pods.starts_with("resetchannels ~coupon:* -@all +"), "{pods}");
        assert!(operator.strip_prefix(&pods).is_some_and(|more| more.starts_with(" +")), "{operator}");
        assert_eq!(database(Who::Pods).unwrap(), "SELECT, INSERT, UPDATE");
        assert_eq!(database(Who::Operator).unwrap(), "SELECT, INSERT, UPDATE, CREATE, ALTER, REFERENCES");
        let acls = kafka("local", "a", "b").unwrap();
        assert!(acls.iter().all(|acl| acl.prefix == "local." && !acl.denies), "{acls:?}");
        let of = |user: &str| acls.iter().filter(|acl| acl.user == user).count();
        assert_eq!((of("a"), of("b")), (8, 3), "{acls:?}");
    }
}
