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
        assert_eq!(campaign::yaml::from_str::<CustomResourceDefinition>(&text).unwrap(), crd);
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

#[test]
fn every_example_is_taken() {
    for (file, kind, object) in examples() {
        assert_eq!(schema::violations(&kind.schema(), &object), Vec::<String>::new(), "{file}");
        parses(kind, &object).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(client_cel(kind, &object, None), Vec::<String>::new(), "{file}");
    }
}
