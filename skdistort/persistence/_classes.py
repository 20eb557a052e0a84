"""The classes that a saved file may name: their names in it, and how they are found again.

Layers of networks are the matter of :mod:`skdistort.persistence._networks`.
"""

from importlib import import_module

from sklearn.base import BaseEstimator

# Classes that compute with their arrays and parameters alone. Not among them is what runs functions
# that it is given, and what hands arrays to compiled code that takes them to be consistent, such as
# trees, where a file could make it read anywhere.
_ESTIMATORS = {
    "skdistort.audio": {
        "CepstralCoefficients",
        "EnergyVAD",
        "LogMelSpectrogram",
        "SpeechAugmentation",
    },
    "skdistort.distortion": {"DistortionGenerator"},
    "skdistort.embedding": {"TripletEmbedder"},
    "skdistort.faces": {"FaceAligner"},
    "skdistort.fusion": {"IsotonicCalibration", "ScoreFusion"},
    "skdistort.images": {"ImageAugmentation"},
    "skdistort.ivector": {"IVectorExtractor", "UniversalBackgroundModel"},
    "skdistort.normalisation": {"ScoreNormaliser", "WithinClassNormaliser"},
    "skdistort.plda": {"PLDA"},
    "skdistort.template_baselines": {
        "BioHashing",
        "GaussianBlur",
        "IoMHashing",
        "MLPHash",
        "Pixelation",
        "PolyProtect",
    },
    "skdistort.verification": {"SiameseVerifier", "SoftmaxEmbedder"},
    "sklearn.compose": {"ColumnTransformer"},
    "sklearn.decomposition": {"FastICA", "IncrementalPCA", "PCA", "TruncatedSVD"},
    "sklearn.discriminant_analysis": {"LinearDiscriminantAnalysis"},
    "sklearn.feature_selection": {"VarianceThreshold"},
    "sklearn.frozen": {"FrozenEstimator"},
    "sklearn.impute": {"SimpleImputer"},
    "sklearn.linear_model": {"LogisticRegression"},
    "sklearn.pipeline": {"FeatureUnion", "Pipeline"},
    "sklearn.preprocessing": {
        "Binarizer",
        "FunctionTransformer",
        "LabelEncoder",
        "MaxAbsScaler",
        "MinMaxScaler",
        "Normalizer",
        "OneHotEncoder",
        "OrdinalEncoder",
        "PolynomialFeatures",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    },
    "sklearn.random_projection": {"GaussianRandomProjection"},
}


def class_name(cls):
    """Name a class as a file does: by its public module, if it is of scikit-learn or ours.

    Parameters
    ----------
    cls : type
        A class.

    Returns
    -------
    str
        Module and name.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skdistort.persistence._classes import class_name
    >>> class_name(PCA)
    'sklearn.decomposition.PCA'
    """
    module = cls.__module__
    if module.startswith(("sklearn.", "skdistort.")):
        module = ".".join(module.split(".")[:2])
    return f"{module}.{cls.__qualname__}"


def find_class(name, trusted):
    """Find the class of an estimator.

    Parameters
    ----------
    name : str
        What :func:`class_name` gave.
    trusted : sequence of type or callable
        Classes that may be named beside those of the list.

    Returns
    -------
    type
        The class.

    Raises
    ------
    ValueError
        If it is not on the list and not trusted, or no estimator.
    """
    classes = {class_name(item): item for item in trusted if isinstance(item, type)}
    if name in classes:
        cls = classes[name]
    else:
        module, _, attribute = name.rpartition(".")
        if attribute not in _ESTIMATORS.get(module, ()):
            raise ValueError(
                f"it names the class {name}, which is not among those that are known to be safe "
                "and is not in trusted; trusted=[...] takes the class, if you trust it"
            )
        cls = getattr(import_module(module), attribute)
    if not issubclass(cls, BaseEstimator):
        raise ValueError(f"{name} is no estimator")
    return cls


def check_no_cache(params, where):
    """Refuse a pipeline's cache, which joblib reads by pickle when the pipeline is fitted.

    Parameters
    ----------
    params : dict
        Parameters of an estimator.
    where : str
        What to call it in messages.

    Raises
    ------
    ValueError
        If there is one.
    """
    if params.get("memory") is not None:
        raise ValueError(
            f"{where}.memory is {params['memory']!r}, a cache of pickles, which would be read in "
            "fit: set it to None"
        )
