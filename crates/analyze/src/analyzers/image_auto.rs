//! `image: auto` stands for the injector's image, and is no image where nobody injects.

use super::Analyzer;
use super::webhook::{Webhook, injectors};
use crate::catalogue;
use crate::kinds;
use crate::pods::PodView;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "injection.ImageAutoAnalyzer",
    about: "containers with `image: auto` are injected",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for pod in world.pods() {
        // A pod that was injected has a real image by now.
        if let Some(path) = auto_image(&pod) {
            let arguments = ["Pod", pod.owner.name()];
            report.say(catalogue::IMAGE_AUTO_ERROR, &pod.owner.reference, path, &arguments);
        }
    }
    let injectors = injectors(world);
    for deployment in world.all(kinds::DEPLOYMENT).map(PodView::of_template) {
        let labels = world.namespace_labels(deployment.namespace()).unwrap_or_default();
        let selects = |w: &Webhook| w.selects(&labels, &deployment.labels);
        let Some(path) = auto_image(&deployment) else { continue };
        if !injectors.iter().any(selects) {
            let arguments = ["Deployment", deployment.owner.name()];
            let message = catalogue::IMAGE_AUTO_WARNING;
            report.say(message, &deployment.owner.reference, path, &arguments);
        }
    }
}

fn auto_image(pod: &PodView<'_>) -> Option<String> {
    let (path, proxy) = pod.proxy()?;
    (proxy["image"] == "auto").then(|| format!("{path}.image"))
}
