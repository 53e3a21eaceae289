use super::*;

struct Sim {
    world: World,
    revision: u64,
}

impl Sim {
    fn new(spec: Value) -> Sim {
        let mut sim = Sim { world: World::default(), revision: 0 };
        sim.put_set(spec);
        sim
    }

    fn put_set(&mut self, mut spec: Value) {
        spec["selector"] = json!({"matchLabels": {"app": "db"}});
        spec["serviceName"] = json!("db");
        let image = spec["image"].take();
        spec["template"] = json!({"metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"image": image}]}});
        let key = Key::new(Resource::STATEFUL_SETS, "default", "db");
        let status = self.world.get(&key).map(|set| set["status"].clone());
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec, "status": status,
            "metadata": {"namespace": "default", "name": "db", "uid": "s"}});
        self.put(&Resource::STATEFUL_SETS, set);
    }

    fn put(&mut self, resource: &Resource, mut object: Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.world.observe(resource, Arc::new(object));
    }

    /// Runs the controller once; pods it creates appear unready, pods it deletes are gone.
    fn step(&mut self) -> Vec<String> {
        let key = Key::new(Resource::STATEFUL_SETS, "default", "db");
        let mut said = Vec::new();
        for action in reconcile(&self.world, &key, Timestamp::UNIX_EPOCH).actions {
            match action {
                Action::Create { mut object, .. } if object["kind"] != "Pod" => {
                    object["metadata"]["uid"] = object["metadata"]["name"].clone();
                    self.put(&Resource::CONTROLLER_REVISIONS, object);
                }
                Action::Create { mut object, .. } => {
                    said.push(format!("+{}", read::name(&object)));
                    object["metadata"]["uid"] = object["metadata"]["name"].clone();
                    self.put(&Resource::PODS, object);
                }
                Action::Delete { key, .. } => {
                    said.push(format!("-{}", key.name));
                    let pod = self.world.get(&key).unwrap().clone();
                    self.revision += 1;
                    self.world.observe_deleted(&Resource::PODS, &pod, self.revision);
                }
                Action::UpdateStatus(set) => self.put(&Resource::STATEFUL_SETS, set),
                Action::Event { .. } | Action::MergePatch { .. } | Action::Update(_) => {}
            }
        }
        said
    }

    fn ready(&mut self) {
        let pods: Vec<Arc<Value>> = self.world.all(&Resource::PODS).cloned().collect();
        for pod in pods {
            let mut pod = pod.as_ref().clone();
            pod["status"] = json!({"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}]});
            self.put(&Resource::PODS, pod);
        }
    }

    fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..50 {
            all.extend(self.step());
            self.ready();
        }
        all
    }
}

#[test]
fn starts_in_order_and_waits_for_each() {
    let mut sim = Sim::new(json!({"replicas": 3, "image": "a"}));
    assert_eq!(sim.step(), ["+db-0"]);
    assert_eq!(sim.step(), [""; 0], "db-0 is not ready");
    assert_eq!(sim.settle(), ["+db-1", "+db-2"]);
    let pod = sim.world.get(&Key::new(Resource::PODS, "default", "db-2")).unwrap();
    assert_eq!(pod["spec"]["hostname"], "db-2");
    assert_eq!(pod["spec"]["subdomain"], "db");
    let set = sim.world.get(&Key::new(Resource::STATEFUL_SETS, "default", "db")).unwrap();
    assert_eq!(set["status"]["readyReplicas"], 3);
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
}

#[test]
fn shrinks_and_replaces_from_the_end() {
    let mut sim = Sim::new(json!({"replicas": 3, "image": "a"}));
    sim.settle();
    sim.put_set(json!({"replicas": 2, "image": "a"}));
    assert_eq!(sim.settle(), ["-db-2"]);
    sim.put_set(json!({"replicas": 2, "image": "b"}));
    assert_eq!(sim.settle(), ["-db-1", "+db-1", "-db-0", "+db-0"]);
    sim.put_set(json!({"replicas": 2, "image": "c",
        "updateStrategy": {"rollingUpdate": {"partition": 1}}}));
    assert_eq!(sim.settle(), ["-db-1", "+db-1"]);
    // What is lost below the partition comes back as it was.
    let key = Key::new(Resource::PODS, "default", "db-0");
    let pod = sim.world.get(&key).unwrap().clone();
    sim.world.observe_deleted(&Resource::PODS, &pod, sim.revision);
    assert_eq!(sim.settle(), ["+db-0"]);
    let image = |name: &str| {
        let pod = sim.world.get(&Key::new(Resource::PODS, "default", name)).unwrap();
        pod["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!((image("db-0"), image("db-1")), (json!("b"), json!("c")));
}

#[test]
fn parallel_pods_start_together() {
    let mut sim = Sim::new(json!({"replicas": 3, "image": "a", "podManagementPolicy": "Parallel"}));
    assert_eq!(sim.step(), ["+db-0", "+db-1", "+db-2"]);
}
