"""What classes that a two-covariance model was not fitted on say about its ratios.

Fitted on few classes, it takes them for farther apart than others are. Each class is held out once
here, and compared with what the model of the others expects of it.
"""

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.model_selection import GroupKFold

from ..fusion import ScoreFusion
from ..metrics import cllr
from ._ratios import llr_matrix
from ._two_covariance import class_statistics

# What is enough to look at: so many samples of a class, and classes of about so many in a fold.
_SAMPLES_OF_CLASS = 40
_SAMPLES_OF_FOLD = 200
# Bits by which held-out ratios may miss what calibration on the same trials would make of them.
_READABLE = 0.1


class HeldOutClasses:
    """Classes that a model was not fitted on, in the basis where its covariance within is I.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Their samples, encoded.
    codes : ndarray of shape (n_samples,)
        Their classes.
    variances : ndarray of shape (n_dimensions,)
        The model's variances between the classes.
    """

    def __init__(self, samples, codes, variances):
        self.samples = samples
        self.variances = variances
        codes = np.unique(codes, return_inverse=True)[1]
        self.counts, means, residuals = class_statistics(samples, codes)
        self.squares = means**2
        self.scatter = np.sum(residuals**2)
        left, right = np.triu_indices(len(codes), 1)
        self.pairs = left, right
        self.genuine = codes[left] == codes[right]

    def cost(self, within, between):
        """Evaluate what scaled variances of the model make of the samples.

        Parameters
        ----------
        within, between : float
            Factors of the model's variances.

        Returns
        -------
        float
            Negative log-likelihood in nats, up to a constant.
        """
        variances = between * self.variances + within / self.counts[:, None]
        freedom = (self.counts.sum() - len(self.counts)) * len(self.variances)
        of_means = np.sum(np.log(variances) + self.squares / variances)
        return 0.5 * (of_means + freedom * np.log(within) + self.scatter / within)

    def ratios(self, within, between):
        """Score all pairs under scaled variances of the model.

        Parameters
        ----------
        within, between : float
            Factors of the model's variances.

        Returns
        -------
        ndarray of shape (n_pairs,)
            Log-likelihood ratios in nats.
        """
        scaled = self.samples / np.sqrt(within)
        return llr_matrix(scaled, scaled, between / within * self.variances)[self.pairs]


def hold_out_classes(fit, X, codes, n_folds):
    """Hold out each class once, as far as there are enough of them.

    Parameters
    ----------
    fit : callable
        ``fit(X, codes) -> encode, variances``, of classes numbered without a gap.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codes : ndarray of shape (n_samples,), int
        Their classes.
    n_folds : int
        Parts that the classes are dealt into; as many as give each two classes, if there are fewer.

    Returns
    -------
    list of HeldOutClasses
        One a fold; none where no two folds have what makes both kinds of pairs.
    """
    n_folds = min(n_folds, (codes.max() + 1) // 2)
    if n_folds < 2:
        return []
    folds = []
    for training, rest in GroupKFold(n_folds).split(X, groups=codes):
        # A class of two samples is needed to fit on.
        learned = np.unique(codes[training], return_inverse=True)[1]
        if learned.max() + 1 == len(training):
            return []
        rest = _some(rest, codes)
        encode, variances = fit(X[training], learned)
        folds.append(HeldOutClasses(encode(X[rest]), codes[rest], variances))
    return folds if sum(fold.genuine.any() for fold in folds) > 1 else []


def learn_scales(folds):
    """Learn how held-out classes differ from what a model expects, by three numbers.

    Parameters
    ----------
    folds : list of HeldOutClasses
        Classes held out.

    Returns
    -------
    within, between : float
        Factors of the model's two variances, of maximum likelihood.
    scale : float
        Factor of the log-likelihood ratios under these, of the lowest Cllr.

    Notes
    -----
    The third is for what the first two cannot tell: axes that the model takes for independent and
    are not make its ratios too sure, wherever their middle is.
    """
    most = np.log(1e6)
    within, between = np.exp(
        minimize(
            lambda p: sum(fold.cost(*np.exp(np.clip(p, -most, most))) for fold in folds),
            np.zeros(2),
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-3},
        ).x.clip(-most, most)
    )
    genuine, ratios = _pooled(folds, within, between)
    found = minimize_scalar(
        lambda log_scale: cllr(genuine, np.exp(log_scale) * ratios),
        bounds=(np.log(0.01), np.log(10)),
        method="bounded",
    )
    return float(within), float(between), float(np.exp(found.x))


def scaled_cllr(folds, within, between, scale):
    """Evaluate the Cllr of held-out classes under scaled variances and ratios.

    Parameters
    ----------
    folds : list of HeldOutClasses
        Classes held out.
    within, between, scale : float
        What :func:`learn_scales` gives.

    Returns
    -------
    float
        In bits.
    """
    genuine, ratios = _pooled(folds, within, between)
    return cllr(genuine, scale * ratios)


def loss_of_calibration(folds):
    """Tell by how many bits ratios miss what they could say, each fold scaled by the others.

    Parameters
    ----------
    folds : list of HeldOutClasses
        Classes held out, of two folds or more.

    Returns
    -------
    float
        Cllr less that after an affine calibration on the same trials.
    """
    parts = []
    for fold in folds:
        others = [other for other in folds if other is not fold]
        *variances, scale = learn_scales(others)
        parts.append((fold.genuine, scale * fold.ratios(*variances)))
    genuine, ratios = (np.concatenate(part) for part in zip(*parts, strict=True))
    best = ScoreFusion("logistic").fit(ratios[:, None], genuine)
    return cllr(genuine, ratios) - cllr(genuine, best.decision_function(ratios[:, None]))


def can_be_read(folds):
    """Tell whether ratios can be read as such, by classes held out.

    Parameters
    ----------
    folds : list of HeldOutClasses
        Classes held out.

    Returns
    -------
    bool
        Whether there are enough of them, and their ratios are calibrated to a tenth of a bit.
    """
    return len(folds) > 1 and loss_of_calibration(folds) <= _READABLE


def _some(rows, codes):
    """Choose as many of the rows held out as are looked at, of whole classes but for large ones."""
    rows = rows[np.argsort(codes[rows], kind="stable")]
    sizes = np.bincount(codes[rows])
    within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = rows[within < _SAMPLES_OF_CLASS]
    sizes = np.minimum(sizes, _SAMPLES_OF_CLASS)
    return rows[(np.cumsum(sizes) - sizes < _SAMPLES_OF_FOLD)[codes[rows]]]


def _pooled(folds, within, between):
    genuine = np.concatenate([fold.genuine for fold in folds])
    return genuine, np.concatenate([fold.ratios(within, between) for fold in folds])
