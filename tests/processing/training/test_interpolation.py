import torch

from brainbert.processing.training import interpolate_masked


def test_a_masked_stretch_of_time_is_filled_along_a_straight_line():
    image = torch.arange(10.0).square().reshape(1, 10, 1).expand(1, 10, 3).clone()
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[:, 4:7] = True  # between 3² = 9 and 7² = 49
    filled = interpolate_masked(image, mask)
    assert filled[0, 4:7, 0].tolist() == [19, 29, 39]
    assert torch.equal(filled[~mask], image[~mask])


def test_a_masked_band_is_filled_from_the_bands_beside_it():
    image = torch.tensor([0.0, 5.0, 9.0, 3.0]).expand(1, 6, 4).clone()
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[:, :, 2] = True
    assert (interpolate_masked(image, mask)[0, :, 2] == 4).all()


def test_where_a_masked_band_crosses_masked_frames_both_are_used():
    time, band = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    image = (3 * time + 10 * band).unsqueeze(0)  # a plane: linear interpolation is exact
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[:, 3:5] = True
    mask[:, :, 2] = True
    torch.testing.assert_close(interpolate_masked(image, mask), image)


def test_at_the_end_the_last_value_is_held():
    image = torch.arange(6.0).reshape(1, 6, 1)
    mask = (torch.arange(6) >= 4).reshape(1, 6, 1)
    assert interpolate_masked(image, mask).flatten().tolist() == [0, 1, 2, 3, 3, 3]


def test_an_image_that_is_masked_altogether_becomes_the_mean():
    image = torch.ones(1, 5, 4)
    assert not interpolate_masked(image, torch.ones_like(image, dtype=torch.bool)).any()


def test_padding_is_not_interpolated_from():
    image = torch.full((1, 9, 2), 3.0)
    image[:, 6:] = 0  # padding
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[:, 4:6] = True
    attention_mask = (torch.arange(9) < 6).long().unsqueeze(0)
    assert (interpolate_masked(image, mask, attention_mask)[:, :6] == 3).all()
