//! What others have put into the pods of a Deployment of ours: a sidecar of a mutating webhook, a variable of `kubectl set env`. It is
//! theirs, stays, and is said. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::apply::covers;

/// Lists of a pod that others add to, and what an item of each is called by.
const OF_POD: [(&str, &str, &str); 6] = [
    ("containers", "container", "name"),
    ("initContainers", "init container", "name"),
    ("volumes", "volume", "name"),
    ("tolerations", "toleration of", "key"),
    ("imagePullSecrets", "pull secret", "name"),
    ("hostAliases", "host alias", "ip"),
];
/// Likewise of a container.
const OF_CONTAINER: [(&str, &str, &str); 4] = [
    ("env", "variable", "name"),
    ("envFrom", "variables from", "prefix"),
    ("volumeMounts", "mount", "mountPath"),
    ("ports", "port", "containerPort"),
];

/// What `found` has in the lists of its pods beside what `wanted` names, in words. Empty: nothing.
pub(crate) fn additions(found: &Deployment, wanted: &Deployment) -> Vec<String> {
    let pod = |deployment: &Deployment| {
        let template = deployment.spec.as_ref().and_then(|spec| serde_json::to_value(&spec.template.spec).ok());
        template.unwrap_or_default()
    };
    let (found, wanted) = (pod(found), pod(wanted));
    let mut all = Vec::new();
    for (list, what, named_by) in OF_POD {
        all.extend(added(&found[list], &wanted[list], named_by).map(|item| format!("{what} {}", name(item, named_by))));
    }
    for container in items(&found["containers"]) {
        let Some(ours) = items(&wanted["containers"]).iter().find(|each| each["name"] == container["name"]) else {
            continue;
        };
        for (list, what, named_by) in OF_CONTAINER {
            let new = added(&container[list], &ours[list], named_by);
            all.extend(new.map(|item| format!("{what} {}", name(item, named_by))));
        }
    }
    all
}

/// The items of `found` that are none of `wanted`.
fn added<'a>(found: &'a Value, wanted: &Value, named_by: &str) -> impl Iterator<Item = &'a Value> {
    let is_ours = |item: &Value| {
        let named = !item[named_by].is_null();
        items(wanted).iter().any(|ours| if named { ours[named_by] == item[named_by] } else { covers(item, ours) })
    };
    let new: Vec<&Value> = items(found).iter().filter(|item| !is_ours(item)).collect();
    new.into_iter()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name(item: &Value, named_by: &str) -> String {
    match &item[named_by] {
        Value::String(name) => name.clone(),
        Value::Null => item.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;
    use crate::workloads::tests::deployment_of;

    #[test]
    fn what_others_added_is_named() {
        let ours = deployment_of(&fixtures::class());
        let changed = |change: fn(&mut Value)| {
            let mut value = serde_json::to_value(&ours).unwrap();
            change(&mut value["spec"]["template"]["spec"]);
            additions(&serde_json::from_value(value).unwrap(), &ours)
        };
        assert_eq!(changed(|_| {}), Vec::<String>::new());
        // Defaults that the server fills in are not additions.
        assert_eq!(changed(|pod| pod["containers"][0]["ports"][0]["hostIP"] = json!("")), Vec::<String>::new());
        let found = changed(|pod| {
            for (list, item) in [
                ("containers", json!({"name": "istio-proxy"})),
                ("volumes", json!({"name": "trust", "emptyDir": {}})),
                ("tolerations", json!({"key": "spot", "operator": "Exists"})),
            ] {
                let mut items = pod[list].as_array().cloned().unwrap_or_default();
                items.insert(0, item);
                pod[list] = json!(items);
            }
            let ours = &mut pod["containers"][1];
            ours["env"].as_array_mut().unwrap().push(json!({"name": "FOO", "value": "bar"}));
            ours["volumeMounts"].as_array_mut().unwrap().insert(0, json!({"name": "trust", "mountPath": "/trust"}));
            ours["ports"].as_array_mut().unwrap().push(json!({"containerPort": 15020}));
        });
        let expected = [
            "container istio-proxy",
            "volume trust",
            "toleration of spot",
            "variable FOO",
            "mount /trust",
            "port 15020",
        ];
        assert_eq!(found, expected);
    }
}
