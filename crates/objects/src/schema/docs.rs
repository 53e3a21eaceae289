//! Short descriptions of well-known fields, for `kubectl explain`.

/// What a field of this name means wherever it occurs; empty where there is nothing to add.
pub fn describe_field(name: &str) -> &'static str {
    FIELDS.iter().find(|(field, _)| *field == name).map_or("", |(_, text)| text)
}

const FIELDS: &[(&str, &str)] = &[
    ("apiVersion", "Group and version of the schema that this object is written in."),
    ("kind", "The type of the object."),
    ("metadata", "Name, namespace, labels, annotations and the server's bookkeeping."),
    ("spec", "The desired state."),
    ("status", "The observed state, written by the system."),
    ("replicas", "How many pods are wanted."),
    ("selector", "Which objects, by their labels, belong to this one."),
    ("template", "The object from which new pods are made."),
    ("containers", "The programs that run in the pod."),
    ("initContainers", "Programs that run to completion, in order, before the containers start."),
    ("image", "The container image's name."),
    ("command", "Replaces the image's entry point."),
    ("args", "Arguments of the entry point; replaces the image's."),
    ("env", "Environment variables of the container."),
    ("ports", "The ports that are offered."),
    ("port", "The port's number."),
    ("targetPort", "Number or name of the port on the pod."),
    ("nodePort", "The port on every node, for services of type NodePort and LoadBalancer."),
    ("clusterIP", "The service's virtual address; `None` for a headless service."),
    ("strategy", "How old pods are replaced by new ones."),
    ("labels", "Key-value pairs by which objects are selected."),
    ("annotations", "Key-value pairs for tools; not used for selection."),
    ("name", "The name, unique in its scope."),
    ("namespace", "The namespace that the object lives in."),
    ("volumes", "What the pod's containers may mount."),
    ("volumeMounts", "Where the container sees the pod's volumes."),
    ("readinessProbe", "Decides whether the container receives traffic."),
    ("livenessProbe", "Decides whether the container is restarted."),
    ("startupProbe", "Must succeed before the other probes begin."),
    ("resources", "Requested and limited computing resources."),
    ("serviceAccountName", "The identity that the pod runs as."),
    ("restartPolicy", "When ended containers are started again: Always, OnFailure or Never."),
    ("nodeName", "The node that runs the pod."),
    ("data", "The content, by key."),
    ("type", "Which variant this is."),
    ("rules", "What is granted, routed or intercepted, in order."),
    ("roleRef", "The role that is granted."),
    ("subjects", "Who receives the role."),
    ("conditions", "Named facts about the current state."),
];
