//! The files that people apply: the generated definitions are fresh, and every example is taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{client_cel, examples, parses, repository, schema};
use operator::api::manifests::{self, COMMAND};

#[test]
fn the_generated_files_are_fresh() {
    for file in manifests::all().unwrap() {
        let found = std::fs::read_to_string(repository().join(&file.path)).unwrap_or_default();
        assert!(found == file.text, "{} is stale; run `{COMMAND}`", file.path);
    }
}

#[test]
fn the_yaml_says_what_the_types_say() {
    // Guards the YAML writer: a rule folded over lines, or a pattern with backslashes, must come back as it was.
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    for crd in manifests::definitions() {
        let text = std::fs::read_to_string(repository().join(format!("crds/{}.yaml", crd.spec.names.plural))).unwrap();
        assert_eq!(coupon_core::yaml::from_str::<CustomResourceDefinition>(&text).unwrap(), crd);
    }
}

/// Wrong: whoever waits for a new object (`kubectl wait`, Flux) takes it for done before anybody has looked at it.
#[test]
fn a_newborn_object_says_that_nobody_has_looked_at_it() {
    for crd in manifests::definitions() {
        let crd = serde_json::to_value(&crd).unwrap();
        let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(
            status["default"],
            serde_json::json!({"observedGeneration": -1}),
            "{}",
            crd["spec"]["names"]["kind"]
        );
        assert_eq!(status["properties"]["observedGeneration"].get("minimum"), None, "the server takes the default");
    }
}

/// Wrong: `kubectl explain` names the fields, and what they are by default and may be stands in no document.
#[test]
fn kubectl_explain_says_defaults_and_bounds() {
    fn look(schema: &serde_json::Value, path: &str, said: &mut Vec<(String, String)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let text = field["description"].as_str().unwrap_or_default();
            for key in ["minimum", "maximum"] {
                if let Some(bound) = field[key].as_f64() {
                    assert!(text.contains(&format!("{bound}")), "{path}: {key} {bound} is not in `{text}`");
                }
            }
            let default = &field["default"];
            if default.is_number() || default.is_boolean() || default.is_string() {
                assert!(text.contains("Default: "), "{path}: {default} is not in `{text}`");
            }
            said.push((path.clone(), text.to_owned()));
            look(field, &path, said);
        }
    }
    let mut said = Vec::new();
    for crd in manifests::definitions() {
        let crd = serde_json::to_value(&crd).unwrap();
        look(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "", &mut said);
    }
    for (path, end) in [
        (".partitions", "Default: 3. From 1 to 256."),
        (".perUserLimit", "Default: 1. From 1 to 100."),
        (".consumer.drainTargetSeconds", "Default: 30. From 1 to 3600."),
        (".database.tls", "Default: VerifyIdentity."),
        (".kafka.replicationFactor", "Default: 3. From 1 to 9."),
        (".issuer.maxReplicas", "From 1 to 1000."),
    ] {
        let (_, text) = said.iter().find(|(found, _)| found == path).unwrap();
        assert!(text.ends_with(end), "{path}: {text}");
    }
}

#[test]
fn the_chart_s_copies_differ_in_the_conditions_only() {
    let all = manifests::all().unwrap();
    for pair in all.chunks(2) {
        let [plain, template] = pair else { panic!("a definition without its chart copy") };
        let (actions, rest): (Vec<&str>, Vec<&str>) = template.text.lines().partition(|line| line.contains("{{"));
        let expected =
            ["{{- if .Values.crds.enabled }}", "  {{- if .Values.crds.keep }}", "  {{- end }}", "{{- end }}"];
        assert_eq!(actions, expected, "{}", template.path);
        let kept = rest.join("\n").replacen("  annotations:\n    helm.sh/resource-policy: keep\n", "", 1);
        assert!(kept == plain.text.trim_end(), "{} differs from {}", template.path, plain.path);
    }
}

/// Wrong: a drained node leaves nobody who looks after sales, or a broken operator holds the drain up.
#[test]
fn the_chart_runs_two_operators_and_a_drain_takes_one_at_a_time() {
    let chart = repository().join("charts/coupon-operator");
    let read = |file: &str| std::fs::read_to_string(chart.join(file)).unwrap();
    let values: serde_json::Value = coupon_core::yaml::from_str(&read("values.yaml")).unwrap();
    assert_eq!(values["replicaCount"], 2);
    assert_eq!(values["podDisruptionBudget"]["enabled"], true);
    let budget = read("templates/poddisruptionbudget.yaml");
    for line in ["maxUnavailable: 1", "unhealthyPodEvictionPolicy: AlwaysAllow"] {
        assert!(budget.lines().any(|each| each.trim() == line), "{line}");
    }
    // SIGTERM ends an operator within 2 s, whatever it is at.
    assert!(values["terminationGracePeriodSeconds"].as_u64().unwrap() >= 5);
}

#[test]
fn every_example_is_taken() {
    for (file, kind, object) in examples() {
        assert_eq!(schema::violations(&kind.schema(), &object), Vec::<String>::new(), "{file}");
        parses(kind, &object).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(client_cel(kind, &object, None), Vec::<String>::new(), "{file}");
    }
}
