//! What needs nothing but the API server.

use super::{ELSEWHERE, walk};

const WEB: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: \"web:1\", env: [{name: A, value: before}]}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn apply_create_get_and_delete() {
    walk("apply", |k| {
        let said = k.run_with_input(&["apply", "-f", "-"], WEB);
        k.same(said.out, "service/web created\ndeployment.apps/web created\n");
        let said = k.run_with_input(&["apply", "-f", "-"], WEB);
        k.same(said.out, "service/web unchanged\ndeployment.apps/web unchanged\n");
        let said = k.run_with_input(&["apply", "-f", "-"], &WEB.replace("web:1", "web:2"));
        k.same(said.out, "service/web unchanged\ndeployment.apps/web configured\n");
        let image = k.json_path(
            &["deploy", "web"],
            "{.spec.template.spec.containers[0].image} {.metadata.generation}",
        );
        k.same(image, "web:2 2");
        let table = k.table(&["get", "deploy", "-o", "wide"]);
        k.same(
            &table.head[..],
            ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"],
        );
        k.same((table.cell(0, 0), table.cell(0, 6)), ("web", "web:2"));
        let table = k.table(&["get", "svc"]);
        k.same(table.head, ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
        let table = k.table(&["get", "all", "-l", "app=web"]);
        k.same(table.cell(0, 0), "service/web");
        let table = k.table(&["get", "cm", "-A"]);
        k.same(table.head, ["NAMESPACE", "NAME", "DATA", "AGE"]);
        let has = table.rows.iter().any(|row| row.iter().any(|cell| cell == "kube-root-ca.crt"));
        k.holds(has, "no kube-root-ca.crt");
        let yaml = k.run(&["get", "deploy", "web", "-o", "yaml"]).out;
        k.same(yaml.lines().next(), Some("apiVersion: apps/v1"));
        k.contains(&k.run(&["get", "deploy", "web", "-o", "json"]).out, "\"kind\": \"Deployment\"");
        let said = k.attempt(&["get", "deploy", "nope"]);
        k.same(said.err, "Error from server (NotFound): deployments.apps \"nope\" not found\n");
        let said = k.run_with_input(&["delete", "-f", "-"], WEB);
        k.contains(&said.out, "deployment.apps \"web\" deleted");
        k.contains(&k.run(&["get", "deploy"]).err, "No resources found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_and_its_conflicts() {
    walk("ssa", |k| {
        let apply = ["apply", "--server-side", "-f", "-"];
        let said = k.run_with_input(&apply, WEB);
        k.same(
            said.out,
            "service/web serverside-applied\ndeployment.apps/web serverside-applied\n",
        );
        k.run(&["scale", "deploy", "web", "--replicas=3"]);
        // Nobody applied the replicas, so there is nothing to fight over.
        k.run_with_input(&apply, WEB);
        k.same(k.json_path(&["deploy", "web"], "{.spec.replicas}"), "3");
        k.run(&["set", "image", "deploy/web", "web=web:9"]);
        let said = k.try_with_input(&apply, WEB);
        k.contains(&said.err, "Apply failed with 1 conflict");
        k.contains(&said.err, ".spec.template.spec.containers[name=\"web\"].image");
        k.run_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], WEB);
        k.same(
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"),
            "web:1",
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_changes() {
    walk("changes", |k| {
        k.run_with_input(&["apply", "-f", "-"], WEB);
        k.run(&["label", "deploy", "web", "team=blue"]);
        k.run(&["annotate", "deploy", "web", "note=x"]);
        k.run(&["label", "deploy", "web", "team-"]);
        let both =
            k.json_path(&["deploy", "web"], "{.metadata.labels.team}|{.metadata.annotations.note}");
        k.same(both, "|x");
        k.run(&[
            "patch",
            "deploy",
            "web",
            "-p",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s"}]}}}}"#,
        ]);
        let names = "{.spec.template.spec.containers[*].name}";
        k.same(k.json_path(&["deploy", "web"], names), "side web");
        k.run(&[
            "patch",
            "deploy",
            "web",
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/spec/template/spec/containers/0"}]"#,
        ]);
        k.run(&["patch", "deploy", "web", "--type=merge", "-p", r#"{"spec":{"replicas":4}}"#]);
        k.same(k.json_path(&["deploy", "web"], &format!("{names} {{.spec.replicas}}")), "web 4");
        k.same(
            k.run(&["scale", "deploy", "web", "--replicas=2"]).out,
            "deployment.apps/web scaled\n",
        );
        k.same(k.run(&["edit", "deploy", "web"]).out, "deployment.apps/web edited\n");
        let value =
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].env[0].value}");
        k.same(value, "after");
        let dry = k.run_with_input(
            &["apply", "--dry-run=server", "-f", "-"],
            &WEB.replace("web:1", "web:7"),
        );
        k.contains(&dry.out, "deployment.apps/web configured (server dry run)");
        k.same(
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"),
            "web:1",
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn created_by_generators() {
    walk("create", |k| {
        k.run(&["create", "configmap", "c", "--from-literal=a=b"]);
        k.run(&["create", "secret", "generic", "s", "--from-literal=p=q"]);
        k.run(&["create", "serviceaccount", "robot"]);
        k.run(&["create", "deployment", "d", "--image=web:1", "--replicas=2"]);
        k.run(&["expose", "deployment", "d", "--port=80", "--target-port=8080", "--type=NodePort"]);
        k.run(&["create", "job", "j", "--image=web:1", "--", "true"]);
        k.run(&["run", "p", "--image=web:1", "--restart=Never"]);
        k.same(k.json_path(&["cm", "c"], "{.data.a}"), "b");
        k.same(k.json_path(&["secret", "s"], "{.data.p} {.type}"), "cQ== Opaque");
        k.same(
            k.json_path(&["deploy", "d"], "{.spec.replicas} {.spec.strategy.type}"),
            "2 RollingUpdate",
        );
        k.same(
            k.json_path(&["svc", "d"], "{.spec.ports[0].targetPort} {.spec.type}"),
            "8080 NodePort",
        );
        k.same(
            k.json_path(&["job", "j"], "{.spec.completions} {.spec.template.spec.restartPolicy}"),
            "1 Never",
        );
        let mounts = "{.spec.serviceAccountName} {.spec.containers[0].volumeMounts[0].mountPath}";
        k.same(
            k.json_path(&["pod", "p"], mounts),
            "default /var/run/secrets/kubernetes.io/serviceaccount",
        );
        let table = k.table(&["get", "pods", "-o", "wide"]);
        k.same(
            &table.head[..],
            [
                "NAME",
                "READY",
                "STATUS",
                "RESTARTS",
                "AGE",
                "IP",
                "NODE",
                "NOMINATED NODE",
                "READINESS GATES",
            ],
        );
        if k.own {
            k.same(table.first(0..4), ["p", "0/1", "Pending", "0"]);
        }
        for (what, wanted) in [
            ("secrets", vec!["NAME", "TYPE", "DATA", "AGE"]),
            ("sa", vec!["NAME", "SECRETS", "AGE"]),
            ("jobs", vec!["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]),
            ("ns", vec!["NAME", "STATUS", "AGE"]),
        ] {
            k.same(k.table(&["get", what]).head, wanted);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_and_what_it_means() {
    walk("explain", |k| {
        let kinds = k.run(&["api-resources"]).out;
        for line in ["deployments", "endpointslices", "customresourcedefinitions", "leases"] {
            k.contains(&kinds, line);
        }
        let pod = k.run(&["explain", "pod.spec.containers"]).out;
        k.contains(&pod, "image\t<string>");
        let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatum: {a: b}\n";
        let said = k.try_with_input(&["create", "-f", "-"], bad);
        k.contains(&said.err, "unknown field \"datum\"");
        let bad =
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 0}]}\n";
        let said = k.try_with_input(&["create", "-f", "-"], bad);
        k.contains(&said.err, "The Service \"x\" is invalid");
        k.contains(&said.err, "spec.ports[0].port");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_the_same_objects() {
    if std::env::var_os(ELSEWHERE).is_some() {
        return; // No other cluster still has them.
    }
    const OLD: &str = "\
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: old}
spec:
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: c, image: i}]}
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
spec: {rules: [{http: {paths: [{path: /, backend: {serviceName: a, servicePort: 80}}]}}]}
";
    walk("legacy", |k| {
        let said = k.run_with_input(&["apply", "-f", "-"], OLD);
        k.contains(&said.err, "extensions/v1beta1 Deployment is deprecated");
        k.same(
            k.json_path(
                &["deployments.apps", "old"],
                "{.apiVersion} {.spec.selector.matchLabels.app}",
            ),
            "apps/v1 old",
        );
        let backend = "{.apiVersion} {.spec.rules[0].http.paths[0].backend.service.port.number}";
        k.same(
            k.json_path(&["ingresses.networking.k8s.io", "old"], backend),
            "networking.k8s.io/v1 80",
        );
        let said = k.run_with_input(&["apply", "-f", "-"], &OLD.replace("image: i", "image: j"));
        k.same(said.out.lines().next(), Some("deployment.extensions/old configured"));
        k.same(k.json_path(&["deploy", "old"], "{.spec.template.spec.containers[0].image}"), "j");
        k.run_with_input(&["delete", "-f", "-"], OLD);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_kinds_and_their_columns() {
    const CRD: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.sea.example}
spec:
  group: sea.example
  scope: Namespaced
  names: {kind: Boat, plural: boats, shortNames: [bt], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {scale: {specReplicasPath: .spec.sails, statusReplicasPath: .status.sails}}
    additionalPrinterColumns: [{name: Sails, type: integer, jsonPath: .spec.sails}]
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {sails: {type: integer, description: How many sails.}},
      x-kubernetes-validations: [{rule: self.sails < 100, message: too many sails}]}}}}
";
    walk("crd", |k| {
        k.run_with_input(&["apply", "-f", "-"], CRD);
        k.run(&["wait", "--for=condition=established", "crd/boats.sea.example", "--timeout=10s"]);
        let boat =
            "apiVersion: sea.example/v1\nkind: Boat\nmetadata: {name: b}\nspec: {sails: 2}\n";
        k.same(k.run_with_input(&["apply", "-f", "-"], boat).out, "boat.sea.example/b created\n");
        let table = k.table(&["get", "bt"]);
        k.same(
            (table.head, table.rows),
            (
                vec!["NAME".to_owned(), "SAILS".to_owned()],
                vec![vec!["b".to_owned(), "2".to_owned()]],
            ),
        );
        k.contains(&k.run(&["get", "fleet"]).out, "b");
        k.contains(&k.run(&["explain", "boats.spec"]).out, "How many sails.");
        k.same(k.run(&["scale", "boat", "b", "--replicas=5"]).out, "boat.sea.example/b scaled\n");
        k.same(k.json_path(&["boat", "b"], "{.spec.sails}"), "5");
        let said = k.try_with_input(&["apply", "-f", "-"], &boat.replace('2', "many"));
        k.contains(&said.err, "spec.sails");
        let said = k.try_with_input(&["apply", "-f", "-"], &boat.replace('2', "200"));
        k.contains(&said.err, "too many sails");
        k.run(&["delete", "crd", "boats.sea.example"]);
        k.holds(!k.attempt(&["get", "boats"]).ok, "the kind is still there");
    })
    .await;
}
