//! All that can be wrong with a field: each is refused in words that name the field and say what to write, and nothing that stands there is
//! repeated.

use serde_json::{Value, json};

use super::*;

/// Stands in every value, and must stand in no error.
const MARKER: &str = "sesame";
/// Where the value of a field is put.
const HERE: &str = "@here";

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Any text, also an empty one.
    Text,
    /// Any text that is not empty.
    Filled,
    Host,
    Address,
    Addresses,
    Number,
    Flag,
    /// One of some words.
    Word,
    /// The certificates of an authority.
    Pem,
    /// The template of a name.
    Template,
    /// Keys with values, some of which must be there.
    Part,
    /// Keys with values, none of which must be there.
    Login,
    Names,
}

/// Every field of the file.
const FIELDS: [(&str, Kind); 34] = {
    use Kind::*;
    [
        ("version", Number),
        ("kafka", Part),
        ("kafka.bootstrapServers", Addresses),
        ("kafka.bootstrapServers[0]", Address),
        ("kafka.protocol", Word),
        ("kafka.mechanism", Word),
        ("kafka.login", Login),
        ("kafka.login.username", Text),
        ("kafka.login.password", Text),
        ("kafka.caPem", Pem),
        ("redis", Part),
        ("redis.server", Part),
        ("redis.server.address", Address),
        ("redis.server.sentinel", Part),
        ("redis.server.sentinel.masterName", Filled),
        ("redis.server.sentinel.nodes", Addresses),
        ("redis.server.sentinel.login", Login),
        ("redis.server.sentinel.login.password", Text),
        ("redis.login", Login),
        ("redis.login.username", Text),
        ("redis.login.password", Text),
        ("redis.tls", Flag),
        ("redis.database", Number),
        ("redis.caPem", Pem),
        ("database", Part),
        ("database.host", Host),
        ("database.port", Number),
        ("database.name", Filled),
        ("database.login", Login),
        ("database.tls", Word),
        ("database.caPem", Pem),
        ("kafkaNames", Names),
        ("kafkaNames.topic", Template),
        ("kafkaNames.deadLetterTopic", Template),
    ]
};

/// What may stand there, as YAML, and who takes it.
fn values() -> Vec<(String, &'static [Kind])> {
    use Kind::*;
    let quoted = |text: &str| Value::from(text).to_string();
    let key = "-----BEGIN PRIVATE KEY-----\nc2VzYW1l sesame\n-----END PRIVATE KEY-----\n";
    let one_line = "-----BEGIN CERTIFICATE----- sesame -----END CERTIFICATE-----";
    vec![
        (quoted(MARKER), &[Text, Filled, Host]),
        (MARKER.to_owned(), &[Text, Filled, Host]),
        (quoted(""), &[Text]),
        (quoted("  "), &[Text]),
        (quoted("5353"), &[Text, Filled, Host]),
        (quoted("true"), &[Text, Filled, Host]),
        (quoted("redis://sesame:sesame@host:5353"), &[Text, Filled]),
        (quoted("host:port sesame"), &[Text, Filled]),
        (quoted("host:535353"), &[Text, Filled, Host]),
        (quoted("host:0"), &[Text, Filled, Host]),
        (quoted("{sesame}"), &[Text, Filled, Host]),
        (quoted("{namespace}{couponId}sesame"), &[Text, Filled, Host]),
        (quoted(key), &[Text, Filled]),
        (quoted(one_line), &[Text, Filled]),
        ("53535353".to_owned(), &[]),
        ("-5353".to_owned(), &[]),
        ("53.53e3".to_owned(), &[]),
        ("0x5353".to_owned(), &[Number]),
        ("true".to_owned(), &[Flag]),
        ("no".to_owned(), &[Flag]),
        ("null".to_owned(), &[]),
        ("~".to_owned(), &[]),
        (String::new(), &[]),
        ("[]".to_owned(), &[]),
        ("[sesame]".to_owned(), &[]),
        ("[5353]".to_owned(), &[]),
        ("[null]".to_owned(), &[]),
        ("{}".to_owned(), &[Login, Names]),
        ("{sesame: sesame}".to_owned(), &[Names]),
        ("!sesame sesame".to_owned(), &[Text, Filled, Host]),
        ("!!int 'sesame'".to_owned(), &[]),
        ("*sesame".to_owned(), &[]),
    ]
}

/// A file in which all is right, but for this field. In lines of its own, so that an empty value is one.
fn with(field: &str, value: &str) -> String {
    let login = || json!({"username": "pods", "password": "open sesame"});
    let mut file = json!({
        "version": 2,
        "kafka": {"bootstrapServers": ["kafka:9092"], "protocol": "SaslTls", "mechanism": "Plain", "login": login()},
        "redis": {"server": {"address": "redis:6379"}, "login": login(), "tls": true, "database": 1},
        "database": {"host": "db", "port": 3306, "name": "coupons", "login": login(), "tls": "Required"},
        "kafkaNames": {"topic": "{realm}.{namespace}.{couponId}"},
    });
    if field.starts_with("redis.server.sentinel") {
        let sentinel = json!({"masterName": "m", "nodes": ["s:26379"], "login": login()});
        file["redis"]["server"] = json!({"sentinel": sentinel});
    }
    let pointer = format!("/{}", field.replace('.', "/").replace("[0]", "/0"));
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap();
    match last.parse::<usize>() {
        Ok(at) => parent[at] = HERE.into(),
        Err(_) => parent[last] = HERE.into(),
    }
    let text = yaml::to_string(&file).unwrap();
    let quoted = ["\"@here\"", "'@here'"].into_iter().find(|quoted| text.contains(quoted)).unwrap_or(HERE);
    assert_eq!(text.matches(quoted).count(), 1, "{text}");
    text.replace(quoted, value)
}

fn load(text: &str) -> Result<Connections, ConnectionsError> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("coupon-wrong-{}-{}.yaml", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    let loaded = Connections::load(&path);
    std::fs::remove_file(&path).unwrap();
    loaded
}

/// Without the file's own name.
fn said(error: &ConnectionsError) -> String {
    match error {
        ConnectionsError::Parse { source, .. } => source.to_string(),
        ConnectionsError::Newer { newer, .. } => newer.to_string(),
        ConnectionsError::Read { .. } => panic!("{error}"),
    }
}

fn repeats(text: &str) -> bool {
    [MARKER, "5353", "53.53", "c2Vz"].iter().any(|value| text.contains(value))
}

/// Wrong: a value of another type is taken for what it is not; what is missing is found out by a server; or a secret stands in the log.
#[test]
fn every_field_refuses_every_other_type_by_name_and_repeats_nothing() {
    assert!(load(&with("redis.tls", "true")).is_ok());
    let mut wrong = Vec::new();
    for (field, kind) in FIELDS {
        for (value, takers) in values() {
            let text = with(field, &value);
            let taken = takers.contains(&kind);
            match load(&text) {
                Ok(_) if taken => {}
                Ok(_) => wrong.push(format!("{field} takes {value:?}")),
                // The number is what there is to say.
                Err(ConnectionsError::Newer { .. }) if field == "version" => {}
                Err(error) if taken => wrong.push(format!("{field} refuses {value:?}: {error}")),
                Err(error) => {
                    let said = said(&error);
                    let place = said.contains("at line") || said.contains(" is missing");
                    // What is no value at all is told by its place.
                    let names = value == "*sesame"
                        || said.contains(field)
                        || (kind == Kind::Template && said.contains("kafkaNames: "));
                    if repeats(&said) || !names || !place || said.len() > 320 {
                        wrong.push(format!("{field}, {value:?}: {said}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Wrong: whoever is told that something is wrong does not know what to write.
#[test]
fn what_to_write_is_said() {
    for (field, value, expected) in [
        ("version", "'2'", "version: expected a whole number from 1 to 4294967295, without quotes, at line"),
        (
            "kafka.bootstrapServers",
            "[]",
            "kafka.bootstrapServers: is empty; write at least one host:port, such as ['host:1234'], at line",
        ),
        ("kafka.bootstrapServers", "kafka:9092", "kafka.bootstrapServers: expected a list, at line"),
        (
            "kafka.bootstrapServers[0]",
            "kafka",
            "kafka.bootstrapServers[0]: write host:port, such as 'host:1234', and nothing else",
        ),
        ("kafka.bootstrapServers[0]", "''", "kafka.bootstrapServers[0]: write host:port"),
        (
            "redis.login.password",
            "1234",
            "redis.login.password: YAML takes this for a number, for true or false, or for nothing: put it in quotes, at line",
        ),
        (
            "redis.login.password",
            "yes",
            "redis.login.password: YAML takes this for a number, for true or false, or for nothing: put it in quotes, at line",
        ),
        (
            "redis.login.password",
            "",
            "redis.login.password: nothing stands here: write a text, or '' for an empty one, at line",
        ),
        ("database.host", "''", "database.host: write the name or the address of a machine, and nothing else, at line"),
        ("database.name", "''", "database.name: is empty; write a text, at line"),
        ("database.port", "'3306'", "database.port: expected a whole number from 1 to 65535, without quotes, at line"),
        ("redis.tls", "'true'", "redis.tls: expected true or false, without quotes, at line"),
        ("kafka.protocol", "''", "kafka.protocol: expected one of Plaintext, Tls, SaslPlaintext, SaslTls, at line"),
        ("kafka.caPem", "''", "kafka.caPem: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"),
        (
            "kafka.caPem",
            "'-----BEGIN RSA PRIVATE KEY-----'",
            "kafka.caPem: holds a private key, which nobody needs to trust an authority",
        ),
        ("kafka", "{}", "kafka: bootstrapServers is missing"),
        ("kafka", "", "kafka: expected keys with values, at line"),
        (
            "kafkaNames.topic",
            "'{realm}.{namespace}'",
            "kafkaNames: topic needs {couponId}, or campaigns would share it, at line",
        ),
    ] {
        let said = said(&load(&with(field, value)).unwrap_err());
        assert!(said.contains(expected), "{field}, {value}: {said}");
    }
    let said = said(&load("").unwrap_err());
    assert!(said.contains("end of input"), "{said}");
}

/// Wrong: what a program writes is not what it reads, as a password looks like a number to YAML.
#[test]
fn passwords_of_every_look_are_written_so_that_they_are_read() {
    let sample = load(&with("redis.tls", "true")).unwrap();
    for password in [
        "",
        " ",
        "0",
        "1",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1E3",
        ".5",
        "5.",
        "0x1F",
        "0o17",
        "0b1",
        "017",
        "1_000",
        "_1",
        "1__0",
        ".inf",
        "-.INF",
        ".nan",
        "nan",
        "inf",
        "Infinity",
        "true",
        "True",
        "TRUE",
        "false",
        "yes",
        "Yes",
        "no",
        "NO",
        "on",
        "off",
        "y",
        "Y",
        "n",
        "N",
        "null",
        "Null",
        "NULL",
        "~",
        "-",
        "--",
        "---",
        "...",
        "?",
        ":",
        "#",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%",
        "@",
        "`",
        "'",
        "\"",
        "a: b",
        "a #b",
        "<<",
        "=",
        "2026-01-01",
        "12:30:45",
        "1:2",
        "a\nb",
        "a\n",
        "\ta",
        "\u{feff}a",
        "{}",
        "[]",
        "${HOME}",
    ] {
        let mut written = sample.clone();
        written.redis.login.password = password.to_owned();
        let text = written.to_yaml().unwrap();
        assert_eq!(load(&text).map_err(|error| said(&error)), Ok(written), "{password:?}: {text}");
    }
}
