import numpy as np
import torch

from data_prep import Preprocessing, make_synthetic


def test_it_says_what_it_is_and_is_always_the_same():
    some, more = make_synthetic(600), make_synthetic(1000)
    assert some.name == "synthetic" and "not CIFAR-10" in some.source["note"]
    assert some.train_images.shape == (600, 3072) and some.train_images.dtype == np.uint8
    assert np.array_equal(some.test_images, more.test_images[:600])
    assert some.digest() == more.first(600).digest()
    assert not np.array_equal(some.train_images, some.test_images)
    assert np.bincount(more.train_labels, minlength=10).min() > 60
    assert len(set(some.label_names)) == 10


def test_a_small_convolutional_net_learns_it_and_a_linear_classifier_does_not():
    dataset = make_synthetic(2000)
    prepare = Preprocessing(55.0, None)
    train, test = (prepare.apply(images) for _, images, _ in dataset.parts())
    labels, answers = dataset.train_labels, dataset.test_labels

    targets = np.eye(10, dtype=np.float32)[labels] - 0.1
    ridge = train.T @ train + 3e3 * np.eye(3072, dtype=np.float32)
    linear = ((test @ np.linalg.solve(ridge, train.T @ targets)).argmax(axis=1) == answers).mean()
    assert 0.15 < linear < 0.5

    nn, random = torch.nn, torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(48, 10),
        )
    x, y = torch.from_numpy(train).reshape(-1, 3, 32, 32), torch.from_numpy(labels).long()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(5):
        for some in torch.randperm(len(x), generator=random).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[some]), y[some]).backward()
            optimizer.step()
    with torch.no_grad():
        guesses = net(torch.from_numpy(test).reshape(-1, 3, 32, 32)).argmax(dim=1).numpy()
    assert (guesses == answers).mean() > 0.75
