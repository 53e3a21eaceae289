//! What is chance and what is not. All bounds are at five standard deviations or their equal, which
//! chance exceeds once in two million checks: a test that fails has found something.

/// Standard deviations that are still called chance.
pub const SIGMA: f64 = 5.0;

/// Whether `k` of `n` is what a share of `p` gives.
pub fn share(what: &str, k: usize, n: usize, p: f64) -> Result<(), String> {
    let (k, n) = (k as f64, n as f64);
    let bound = SIGMA * (n * p * (1.0 - p)).sqrt();
    if (k - n * p).abs() <= bound {
        return Ok(());
    }
    Err(format!("{what}: {k} of {n}, expected {:.1} within {bound:.1}", n * p))
}

/// Whether two shares, each of its own number, are the same.
pub fn same(what: &str, (k1, n1): (usize, usize), (k2, n2): (usize, usize)) -> Result<(), String> {
    let (p1, p2) = (k1 as f64 / n1 as f64, k2 as f64 / n2 as f64);
    let p = (k1 + k2) as f64 / (n1 + n2) as f64;
    let bound = SIGMA * (p * (1.0 - p) * (1.0 / n1 as f64 + 1.0 / n2 as f64)).sqrt();
    if (p1 - p2).abs() <= bound {
        return Ok(());
    }
    Err(format!("{what}: {k1} of {n1} and {k2} of {n2} differ by more than {bound:.4}"))
}

/// Whether counts are what these shares (which need not add up to 1) give, by Pearson's chi-square.
pub fn shares(what: &str, counts: &[usize], shares: &[f64]) -> Result<(), String> {
    let n = counts.iter().sum::<usize>() as f64;
    let whole: f64 = shares.iter().sum();
    let term = |(k, share): (&usize, &f64)| {
        let expected = n * share / whole;
        if expected > 0.0 {
            (*k as f64 - expected).powi(2) / expected
        } else {
            f64::from(*k > 0) * 1e9
        }
    };
    let chi: f64 = counts.iter().zip(shares).map(term).sum();
    let freedom = shares.iter().filter(|s| **s > 0.0).count().saturating_sub(1);
    let bound = chi_bound(freedom);
    if chi <= bound {
        return Ok(());
    }
    Err(format!(
        "{what}: {counts:?} are not shares of {shares:?}: chi-square {chi:.1} > {bound:.1}"
    ))
}

/// Whether two lists of counts are drawn from the same shares, whatever these are.
pub fn alike(what: &str, one: &[usize], two: &[usize]) -> Result<(), String> {
    let (n1, n2) = (one.iter().sum::<usize>() as f64, two.iter().sum::<usize>() as f64);
    let pairs = || one.iter().zip(two).filter(|(a, b)| **a + **b > 0);
    let term = |(a, b): (&usize, &usize)| {
        let (a, b) = (*a as f64, *b as f64);
        ((n2 / n1).sqrt() * a - (n1 / n2).sqrt() * b).powi(2) / (a + b)
    };
    let chi: f64 = pairs().map(term).sum();
    let bound = chi_bound(pairs().count().saturating_sub(1));
    if chi <= bound {
        return Ok(());
    }
    Err(format!("{what}: {one:?} and {two:?} differ: chi-square {chi:.1} > {bound:.1}"))
}

/// The value that chi-square exceeds as seldom as a normal variable exceeds five deviations to either side:
/// from the table, and beyond it by Wilson and Hilferty's approximation, which is good for many degrees only.
fn chi_bound(freedom: usize) -> f64 {
    const TABLE: [f64; 12] =
        [25.0, 28.74, 31.81, 34.56, 37.09, 39.49, 41.78, 43.98, 46.12, 48.19, 50.21, 52.19];
    // The one-sided quantile of the same probability, a little above.
    const QUANTILE: f64 = 4.9;
    let k = freedom.max(1);
    if let Some(bound) = TABLE.get(k - 1) {
        return *bound;
    }
    let (k, part) = (k as f64, 2.0 / (9.0 * k as f64));
    k * (1.0 - part + QUANTILE * part.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_passes_and_a_tenth_more_does_not() {
        assert!(share("fair", 5100, 10_000, 0.5).is_ok());
        assert!(share("unfair", 5500, 10_000, 0.5).is_err());
        assert!(same("fair", (300, 1000), (620, 2000)).is_ok());
        assert!(same("unfair", (300, 1000), (900, 2000)).is_err());
        assert!(share("never", 1, 1000, 0.0).is_err());
    }

    #[test]
    fn distributions_are_told_apart() {
        assert!(shares("fair", &[1010, 1980, 3010], &[1.0, 2.0, 3.0]).is_ok());
        assert!(shares("unfair", &[1200, 1800, 3000], &[1.0, 2.0, 3.0]).is_err());
        assert!(shares("nobody", &[1, 100], &[0.0, 1.0]).is_err());
        assert!(alike("fair", &[1010, 1980, 0], &[520, 1000, 0]).is_ok());
        assert!(alike("unfair", &[1010, 1980], &[700, 1000]).is_err());
    }

    #[test]
    fn the_bound_grows_evenly_also_where_the_table_ends() {
        let bounds: Vec<f64> = (1..30).map(chi_bound).collect();
        let steps = bounds.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.clone().all(|step| (1.5..4.0).contains(&step)), "{bounds:?}");
    }
}
