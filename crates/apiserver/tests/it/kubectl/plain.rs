//! What needs nothing but the API server.

use super::{Kubectl, own_cluster};

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
    let cluster = own_cluster("kubectl-apply").await;
    for k in Kubectl::each(cluster.as_ref()).await {
        let said = k.run_with_input(&["apply", "-f", "-"], WEB);
        assert_eq!(said.out, "service/web created\ndeployment.apps/web created\n");
        let said = k.run_with_input(&["apply", "-f", "-"], WEB);
        assert_eq!(said.out, "service/web unchanged\ndeployment.apps/web unchanged\n");
        let said = k.run_with_input(&["apply", "-f", "-"], &WEB.replace("web:1", "web:2"));
        assert_eq!(said.out, "service/web unchanged\ndeployment.apps/web configured\n");
        let image = k.json_path(
            &["deploy", "web"],
            "{.spec.template.spec.containers[0].image} {.metadata.generation}",
        );
        assert_eq!(image, "web:2 2");
        let (head, rows) = k.table(&["get", "deploy", "-o", "wide"]);
        assert_eq!(
            head,
            ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
        );
        assert_eq!((rows[0][0].as_str(), rows[0][6].as_str()), ("web", "web:2"));
        let (head, _) = k.table(&["get", "svc"]);
        assert_eq!(head, ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
        let (head, rows) = k.table(&["get", "all", "-l", "app=web"]);
        assert_eq!((head[0].as_str(), rows[0][0].as_str()), ("NAME", "service/web"));
        let (head, rows) = k.table(&["get", "cm", "-A"]);
        assert_eq!(head, ["NAMESPACE", "NAME", "DATA", "AGE"]);
        assert!(rows.iter().any(|r| r[1] == "kube-root-ca.crt"));
        assert!(
            k.run(&["get", "deploy", "web", "-o", "yaml"]).out.starts_with("apiVersion: apps/v1\n")
        );
        assert!(
            k.run(&["get", "deploy", "web", "-o", "json"]).out.contains("\"kind\": \"Deployment\"")
        );
        let said = k.attempt(&["get", "deploy", "nope"]);
        assert_eq!(said.err, "Error from server (NotFound): deployments.apps \"nope\" not found\n");
        let said = k.run_with_input(&["delete", "-f", "-"], WEB);
        assert!(said.out.contains("deployment.apps \"web\" deleted"), "{}", said.out);
        assert!(k.run(&["get", "deploy"]).err.contains("No resources found"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_and_its_conflicts() {
    let cluster = own_cluster("kubectl-ssa").await;
    for k in Kubectl::each(cluster.as_ref()).await {
        let apply = ["apply", "--server-side", "-f", "-"];
        let said = k.run_with_input(&apply, WEB);
        assert_eq!(
            said.out,
            "service/web serverside-applied\ndeployment.apps/web serverside-applied\n"
        );
        k.run(&["scale", "deploy", "web", "--replicas=3"]);
        // Nobody applied the replicas, so there is nothing to fight over.
        k.run_with_input(&apply, WEB);
        assert_eq!(k.json_path(&["deploy", "web"], "{.spec.replicas}"), "3");
        k.run(&["set", "image", "deploy/web", "web=web:9"]);
        let said = k.try_with_input(&apply, WEB);
        assert!(said.err.contains("Apply failed with 1 conflict"), "{}", said.err);
        assert!(
            said.err.contains(".spec.template.spec.containers[name=\"web\"].image"),
            "{}",
            said.err
        );
        k.run_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], WEB);
        assert_eq!(
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"),
            "web:1"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_changes() {
    let cluster = own_cluster("kubectl-changes").await;
    for k in Kubectl::each(cluster.as_ref()).await {
        k.run_with_input(&["apply", "-f", "-"], WEB);
        k.run(&["label", "deploy", "web", "team=blue"]);
        k.run(&["annotate", "deploy", "web", "note=x"]);
        k.run(&["label", "deploy", "web", "team-"]);
        let both =
            k.json_path(&["deploy", "web"], "{.metadata.labels.team}|{.metadata.annotations.note}");
        assert_eq!(both, "|x");
        k.run(&[
            "patch",
            "deploy",
            "web",
            "-p",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s"}]}}}}"#,
        ]);
        let names = "{.spec.template.spec.containers[*].name}";
        assert_eq!(k.json_path(&["deploy", "web"], names), "side web");
        k.run(&[
            "patch",
            "deploy",
            "web",
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/spec/template/spec/containers/0"}]"#,
        ]);
        k.run(&["patch", "deploy", "web", "--type=merge", "-p", r#"{"spec":{"replicas":4}}"#]);
        assert_eq!(
            k.json_path(&["deploy", "web"], &format!("{names} {{.spec.replicas}}")),
            "web 4"
        );
        assert_eq!(
            k.run(&["scale", "deploy", "web", "--replicas=2"]).out,
            "deployment.apps/web scaled\n"
        );
        assert_eq!(k.run(&["edit", "deploy", "web"]).out, "deployment.apps/web edited\n");
        let value =
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].env[0].value}");
        assert_eq!(value, "after");
        let dry = k.run_with_input(
            &["apply", "--dry-run=server", "-f", "-"],
            &WEB.replace("web:1", "web:7"),
        );
        assert!(dry.out.contains("deployment.apps/web configured (server dry run)"), "{}", dry.out);
        assert_eq!(
            k.json_path(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"),
            "web:1"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn created_by_generators() {
    let cluster = own_cluster("kubectl-create").await;
    for k in Kubectl::each(cluster.as_ref()).await {
        k.run(&["create", "configmap", "c", "--from-literal=a=b"]);
        k.run(&["create", "secret", "generic", "s", "--from-literal=p=q"]);
        k.run(&["create", "serviceaccount", "robot"]);
        k.run(&["create", "deployment", "d", "--image=web:1", "--replicas=2"]);
        k.run(&["expose", "deployment", "d", "--port=80", "--target-port=8080", "--type=NodePort"]);
        k.run(&["create", "job", "j", "--image=web:1", "--", "true"]);
        k.run(&["run", "p", "--image=web:1", "--restart=Never"]);
        assert_eq!(k.json_path(&["cm", "c"], "{.data.a}"), "b");
        assert_eq!(k.json_path(&["secret", "s"], "{.data.p} {.type}"), "cQ== Opaque");
        assert_eq!(
            k.json_path(&["deploy", "d"], "{.spec.replicas} {.spec.strategy.type}"),
            "2 RollingUpdate"
        );
        assert_eq!(
            k.json_path(&["svc", "d"], "{.spec.ports[0].targetPort} {.spec.type}"),
            "8080 NodePort"
        );
        assert_eq!(
            k.json_path(&["job", "j"], "{.spec.completions} {.spec.template.spec.restartPolicy}"),
            "1 Never"
        );
        let mounts = "{.spec.serviceAccountName} {.spec.containers[0].volumeMounts[0].mountPath}";
        assert_eq!(
            k.json_path(&["pod", "p"], mounts),
            "default /var/run/secrets/kubernetes.io/serviceaccount"
        );
        let (head, rows) = k.table(&["get", "pods", "-o", "wide"]);
        assert_eq!(
            head,
            [
                "NAME",
                "READY",
                "STATUS",
                "RESTARTS",
                "AGE",
                "IP",
                "NODE",
                "NOMINATED NODE",
                "READINESS GATES"
            ]
        );
        if cluster.is_some() {
            assert_eq!(rows[0][..4], ["p", "0/1", "Pending", "0"]);
        }
        for (what, wanted) in [
            ("secrets", vec!["NAME", "TYPE", "DATA", "AGE"]),
            ("sa", vec!["NAME", "SECRETS", "AGE"]),
            ("jobs", vec!["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]),
            ("ns", vec!["NAME", "STATUS", "AGE"]),
        ] {
            assert_eq!(k.table(&["get", what]).0, wanted, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_and_what_it_means() {
    let cluster = own_cluster("kubectl-explain").await;
    for k in Kubectl::each(cluster.as_ref()).await {
        let kinds = k.run(&["api-resources"]).out;
        for line in ["deployments", "endpointslices", "customresourcedefinitions", "leases"] {
            assert!(kinds.contains(line), "{line}");
        }
        let pod = k.run(&["explain", "pod.spec.containers"]).out;
        assert!(pod.contains("image\t<string>"), "{pod}");
        let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatum: {a: b}\n";
        let said = k.try_with_input(&["create", "-f", "-"], bad);
        assert!(!said.ok && said.err.contains("unknown field \"datum\""), "{}", said.err);
        let bad =
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 0}]}\n";
        let said = k.try_with_input(&["create", "-f", "-"], bad);
        assert!(
            said.err.contains("The Service \"x\" is invalid")
                && said.err.contains("spec.ports[0].port"),
            "{}",
            said.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_the_same_objects() {
    let Some(cluster) = own_cluster("kubectl-legacy").await else { return };
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
    for k in Kubectl::each(Some(&cluster)).await {
        let said = k.run_with_input(&["apply", "-f", "-"], OLD);
        assert!(said.err.contains("extensions/v1beta1 Deployment is deprecated"), "{}", said.err);
        assert_eq!(
            k.json_path(
                &["deployments.apps", "old"],
                "{.apiVersion} {.spec.selector.matchLabels.app}"
            ),
            "apps/v1 old"
        );
        let backend = "{.apiVersion} {.spec.rules[0].http.paths[0].backend.service.port.number}";
        assert_eq!(
            k.json_path(&["ingresses.networking.k8s.io", "old"], backend),
            "networking.k8s.io/v1 80"
        );
        let said = k.run_with_input(&["apply", "-f", "-"], &OLD.replace("image: i", "image: j"));
        assert_eq!(said.out.lines().next(), Some("deployment.extensions/old configured"));
        assert_eq!(
            k.json_path(&["deploy", "old"], "{.spec.template.spec.containers[0].image}"),
            "j"
        );
        k.run_with_input(&["delete", "-f", "-"], OLD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_kinds_and_their_columns() {
    let cluster = own_cluster("kubectl-crd").await;
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
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {sails: {type: integer, description: How many sails.}}}}}}
";
    for k in Kubectl::each(cluster.as_ref()).await {
        k.run_with_input(&["apply", "-f", "-"], CRD);
        k.run(&["wait", "--for=condition=established", "crd/boats.sea.example", "--timeout=10s"]);
        let boat =
            "apiVersion: sea.example/v1\nkind: Boat\nmetadata: {name: b}\nspec: {sails: 2}\n";
        assert_eq!(
            k.run_with_input(&["apply", "-f", "-"], boat).out,
            "boat.sea.example/b created\n"
        );
        let (head, rows) = k.table(&["get", "bt"]);
        assert_eq!(
            (head, rows),
            (
                vec!["NAME".to_owned(), "SAILS".to_owned()],
                vec![vec!["b".to_owned(), "2".to_owned()]]
            )
        );
        assert!(k.run(&["get", "fleet"]).out.contains('b'));
        assert!(k.run(&["explain", "boats.spec"]).out.contains("How many sails."));
        assert_eq!(
            k.run(&["scale", "boat", "b", "--replicas=5"]).out,
            "boat.sea.example/b scaled\n"
        );
        assert_eq!(k.json_path(&["boat", "b"], "{.spec.sails}"), "5");
        let said = k.try_with_input(&["apply", "-f", "-"], &boat.replace('2', "many"));
        assert!(said.err.contains("spec.sails"), "{}", said.err);
        k.run(&["delete", "crd", "boats.sea.example"]);
        assert!(!k.attempt(&["get", "boats"]).ok);
    }
}
