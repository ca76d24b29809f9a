//! The difference between a network's layers on two pictures (pix2pixHD: Wang et al. 2018, arXiv 1711.11585, section
//! 3.2): the discriminator's on matched and swapped (feature matching), and those of a fixed random network on human
//! and restored (after the perceptual loss of Johnson et al. 2016, arXiv 1603.08155).

use tch::{Kind, Tensor};

/// Averages each layer's mean |wanted - got| over the layers. pix2pixHD sums over the layers; with a mean, a weight
/// fits networks of any depth. Gradients flow through `got` alone.
///
/// # Shapes
/// Equally many layers in both, each `[N, C, H, W]` of its own size. Returns a scalar.
pub fn features(wanted: &[Tensor], got: &[Tensor]) -> Tensor {
    assert!(!wanted.is_empty() && wanted.len() == got.len());
    let layers = wanted.iter().zip(got);
    let differences = layers.map(|(a, b)| {
        let (a, b) = (a.detach().to_kind(Kind::Float), b.to_kind(Kind::Float));
        (a - b).abs().mean(Kind::Float)
    });
    differences.reduce(|sum, layer| sum + layer).expect("layers") / wanted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_weigh_the_same_and_the_wanted_ones_get_no_gradient() {
        let layer = |values: &[f32]| Tensor::from_slice(values).reshape([1, 1, 1, -1]).set_requires_grad(true);
        let wanted = [layer(&[1.0, 2.0, 3.0, 4.0]), layer(&[5.0])];
        let got = [layer(&[1.0, 2.0, 3.0, 2.0]), layer(&[8.0])];
        let loss = features(&wanted, &got);
        // (2 / 4 + 3 / 1) / 2
        assert_eq!(loss.double_value(&[]), 1.75);
        loss.backward();
        assert!(!wanted[0].grad().defined());
        // -(1 / 4) / 2
        assert_eq!(got[0].grad().double_value(&[0, 0, 0, 3]), -0.125);
        assert_eq!(got[1].grad().double_value(&[0, 0, 0, 0]), 0.5);
    }
}
