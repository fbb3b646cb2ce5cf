"""The messages as a type checker sees them: made by `python netgen/schema/compile.py`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR_SET: Path

Phase: EnumTypeWrapper
TRAIN: int
TEST: int

Type: EnumTypeWrapper
DOUBLE: int
FLOAT: int
FLOAT16: int
INT: int
UINT: int

class BlobShape(Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        dim: Iterable[int] | None = ...,
    ) -> None: ...

class BlobProto(Message):
    num: int
    channels: int
    height: int
    width: int
    @property
    def data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def diff(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def shape(self) -> BlobShape: ...
    @property
    def double_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_diff(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        num: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: Iterable[float] | None = ...,
        diff: Iterable[float] | None = ...,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        double_data: Iterable[float] | None = ...,
        double_diff: Iterable[float] | None = ...,
    ) -> None: ...

class BlobProtoVector(Message):
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    def __init__(
        self,
        *,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class Datum(Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...
    encoded: bool
    def __init__(
        self,
        *,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: bytes | None = ...,
        label: int | None = ...,
        float_data: Iterable[float] | None = ...,
        encoded: bool | None = ...,
    ) -> None: ...

class NetParameter(Message):
    name: str
    @property
    def layers(self) -> RepeatedCompositeFieldContainer[V1LayerParameter]: ...
    @property
    def input(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def input_dim(self) -> RepeatedScalarFieldContainer[int]: ...
    force_backward: bool
    @property
    def state(self) -> NetState: ...
    debug_info: bool
    @property
    def input_shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def layer(self) -> RepeatedCompositeFieldContainer[LayerParameter]: ...
    default_forward_type: int
    default_backward_type: int
    default_forward_math: int
    default_backward_math: int
    global_grad_scale: float
    global_grad_scale_adaptive: bool
    eltwise_mem_sharing: bool
    def __init__(
        self,
        *,
        name: str | None = ...,
        layers: Iterable[V1LayerParameter | Mapping[str, Any]] | None = ...,
        input: Iterable[str] | None = ...,
        input_dim: Iterable[int] | None = ...,
        force_backward: bool | None = ...,
        state: NetState | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        input_shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
        layer: Iterable[LayerParameter | Mapping[str, Any]] | None = ...,
        default_forward_type: int | str | None = ...,
        default_backward_type: int | str | None = ...,
        default_forward_math: int | str | None = ...,
        default_backward_math: int | str | None = ...,
        global_grad_scale: float | None = ...,
        global_grad_scale_adaptive: bool | None = ...,
        eltwise_mem_sharing: bool | None = ...,
    ) -> None: ...

class NetState(Message):
    phase: int
    level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        level: int | None = ...,
        stage: Iterable[str] | None = ...,
    ) -> None: ...

class NetStateRule(Message):
    phase: int
    min_level: int
    max_level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def not_stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        min_level: int | None = ...,
        max_level: int | None = ...,
        stage: Iterable[str] | None = ...,
        not_stage: Iterable[str] | None = ...,
    ) -> None: ...

class LayerParameter(Message):
    name: str
    type: str
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def param(self) -> RepeatedCompositeFieldContainer[ParamSpec]: ...
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    phase: int
    @property
    def propagate_down(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def python_param(self) -> PythonParameter: ...
    @property
    def prelu_param(self) -> PReLUParameter: ...
    @property
    def spp_param(self) -> SPPParameter: ...
    @property
    def reshape_param(self) -> ReshapeParameter: ...
    @property
    def log_param(self) -> LogParameter: ...
    @property
    def flatten_param(self) -> FlattenParameter: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    @property
    def embed_param(self) -> EmbedParameter: ...
    @property
    def tile_param(self) -> TileParameter: ...
    @property
    def batch_norm_param(self) -> BatchNormParameter: ...
    @property
    def elu_param(self) -> ELUParameter: ...
    @property
    def bias_param(self) -> BiasParameter: ...
    @property
    def scale_param(self) -> ScaleParameter: ...
    @property
    def input_param(self) -> InputParameter: ...
    @property
    def crop_param(self) -> CropParameter: ...
    @property
    def parameter_param(self) -> ParameterParameter: ...
    @property
    def recurrent_param(self) -> RecurrentParameter: ...
    @property
    def swish_param(self) -> SwishParameter: ...
    @property
    def clip_param(self) -> ClipParameter: ...
    @property
    def annotated_data_param(self) -> AnnotatedDataParameter: ...
    @property
    def multibox_loss_param(self) -> MultiBoxLossParameter: ...
    @property
    def permute_param(self) -> PermuteParameter: ...
    @property
    def prior_box_param(self) -> PriorBoxParameter: ...
    @property
    def detection_output_param(self) -> DetectionOutputParameter: ...
    @property
    def detection_evaluate_param(self) -> DetectionEvaluateParameter: ...
    @property
    def norm_param(self) -> NormalizeParameter: ...
    @property
    def roi_pooling_param(self) -> ROIPoolingParameter: ...
    @property
    def smooth_l1_loss_param(self) -> SmoothL1LossParameter: ...
    @property
    def bn_param(self) -> BNParameter: ...
    @property
    def upsample_param(self) -> UpsampleParameter: ...
    @property
    def continuation_indicator_param(self) -> ContinuationIndicatorParameter: ...
    @property
    def ctc_loss_param(self) -> CtcLossParameter: ...
    @property
    def labelsequence_accuracy_param(self) -> LabelsequenceAccuracyParameter: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    @property
    def relu6_param(self) -> ReLUParameter: ...
    @property
    def psroi_pooling_param(self) -> PSROIPoolingParameter: ...
    @property
    def box_annotator_ohem_param(self) -> BoxAnnotatorOHEMParameter: ...
    @property
    def reorg_param(self) -> ReorgParameter: ...
    @property
    def reverse_param(self) -> ReverseParameter: ...
    @property
    def lstm_param(self) -> LSTMParameter: ...
    @property
    def shuffle_channel_param(self) -> ShuffleChannelParameter: ...
    @property
    def center_loss_param(self) -> CenterLossParameter: ...
    @property
    def region_loss_param(self) -> RegionLossParameter: ...
    @property
    def yolov3_param(self) -> Yolov3Parameter: ...
    @property
    def yolov3_detection_output_param(self) -> Yolov3DetectionOutputParameter: ...
    @property
    def proposal_param(self) -> ProposalParameter: ...
    @property
    def dense_image_data_param(self) -> DenseImageDataParameter: ...
    @property
    def yolo_detection_output_param(self) -> YoloDetectionOutputParameter: ...
    @property
    def lifted_struct_sim_softmax_loss_param(self) -> LiftedStructSimilaritySoftmaxLossParameter: ...
    @property
    def margin_inner_product_param(self) -> MarginInnerProductParameter: ...
    @property
    def normalize_param(self) -> FaceNormalizeParameter: ...
    @property
    def flip_param(self) -> FlipParameter: ...
    @property
    def label_specific_add_param(self) -> LabelSpecificAddParameter: ...
    @property
    def roi_warping_param(self) -> ROIPoolingParameter: ...
    @property
    def mask_resize_param(self) -> MaskResizeParameter: ...
    @property
    def transpose_param(self) -> TransposeParameter: ...
    @property
    def ctc_decoder_param(self) -> CTCDecoderParameter: ...
    @property
    def denseblock_param(self) -> DenseBlockParameter: ...
    forward_type: int
    backward_type: int
    forward_math: int
    backward_math: int
    engine: str
    @property
    def own_fields(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        param: Iterable[ParamSpec | Mapping[str, Any]] | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        phase: int | str | None = ...,
        propagate_down: Iterable[bool] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
        python_param: PythonParameter | Mapping[str, Any] | None = ...,
        prelu_param: PReLUParameter | Mapping[str, Any] | None = ...,
        spp_param: SPPParameter | Mapping[str, Any] | None = ...,
        reshape_param: ReshapeParameter | Mapping[str, Any] | None = ...,
        log_param: LogParameter | Mapping[str, Any] | None = ...,
        flatten_param: FlattenParameter | Mapping[str, Any] | None = ...,
        reduction_param: ReductionParameter | Mapping[str, Any] | None = ...,
        embed_param: EmbedParameter | Mapping[str, Any] | None = ...,
        tile_param: TileParameter | Mapping[str, Any] | None = ...,
        batch_norm_param: BatchNormParameter | Mapping[str, Any] | None = ...,
        elu_param: ELUParameter | Mapping[str, Any] | None = ...,
        bias_param: BiasParameter | Mapping[str, Any] | None = ...,
        scale_param: ScaleParameter | Mapping[str, Any] | None = ...,
        input_param: InputParameter | Mapping[str, Any] | None = ...,
        crop_param: CropParameter | Mapping[str, Any] | None = ...,
        parameter_param: ParameterParameter | Mapping[str, Any] | None = ...,
        recurrent_param: RecurrentParameter | Mapping[str, Any] | None = ...,
        swish_param: SwishParameter | Mapping[str, Any] | None = ...,
        clip_param: ClipParameter | Mapping[str, Any] | None = ...,
        annotated_data_param: AnnotatedDataParameter | Mapping[str, Any] | None = ...,
        multibox_loss_param: MultiBoxLossParameter | Mapping[str, Any] | None = ...,
        permute_param: PermuteParameter | Mapping[str, Any] | None = ...,
        prior_box_param: PriorBoxParameter | Mapping[str, Any] | None = ...,
        detection_output_param: DetectionOutputParameter | Mapping[str, Any] | None = ...,
        detection_evaluate_param: DetectionEvaluateParameter | Mapping[str, Any] | None = ...,
        norm_param: NormalizeParameter | Mapping[str, Any] | None = ...,
        roi_pooling_param: ROIPoolingParameter | Mapping[str, Any] | None = ...,
        smooth_l1_loss_param: SmoothL1LossParameter | Mapping[str, Any] | None = ...,
        bn_param: BNParameter | Mapping[str, Any] | None = ...,
        upsample_param: UpsampleParameter | Mapping[str, Any] | None = ...,
        continuation_indicator_param: ContinuationIndicatorParameter | Mapping[str, Any] | None = ...,
        ctc_loss_param: CtcLossParameter | Mapping[str, Any] | None = ...,
        labelsequence_accuracy_param: LabelsequenceAccuracyParameter | Mapping[str, Any] | None = ...,
        interp_param: InterpParameter | Mapping[str, Any] | None = ...,
        relu6_param: ReLUParameter | Mapping[str, Any] | None = ...,
        psroi_pooling_param: PSROIPoolingParameter | Mapping[str, Any] | None = ...,
        box_annotator_ohem_param: BoxAnnotatorOHEMParameter | Mapping[str, Any] | None = ...,
        reorg_param: ReorgParameter | Mapping[str, Any] | None = ...,
        reverse_param: ReverseParameter | Mapping[str, Any] | None = ...,
        lstm_param: LSTMParameter | Mapping[str, Any] | None = ...,
        shuffle_channel_param: ShuffleChannelParameter | Mapping[str, Any] | None = ...,
        center_loss_param: CenterLossParameter | Mapping[str, Any] | None = ...,
        region_loss_param: RegionLossParameter | Mapping[str, Any] | None = ...,
        yolov3_param: Yolov3Parameter | Mapping[str, Any] | None = ...,
        yolov3_detection_output_param: Yolov3DetectionOutputParameter | Mapping[str, Any] | None = ...,
        proposal_param: ProposalParameter | Mapping[str, Any] | None = ...,
        dense_image_data_param: DenseImageDataParameter | Mapping[str, Any] | None = ...,
        yolo_detection_output_param: YoloDetectionOutputParameter | Mapping[str, Any] | None = ...,
        lifted_struct_sim_softmax_loss_param: LiftedStructSimilaritySoftmaxLossParameter | Mapping[str, Any] | None = ...,
        margin_inner_product_param: MarginInnerProductParameter | Mapping[str, Any] | None = ...,
        normalize_param: FaceNormalizeParameter | Mapping[str, Any] | None = ...,
        flip_param: FlipParameter | Mapping[str, Any] | None = ...,
        label_specific_add_param: LabelSpecificAddParameter | Mapping[str, Any] | None = ...,
        roi_warping_param: ROIPoolingParameter | Mapping[str, Any] | None = ...,
        mask_resize_param: MaskResizeParameter | Mapping[str, Any] | None = ...,
        transpose_param: TransposeParameter | Mapping[str, Any] | None = ...,
        ctc_decoder_param: CTCDecoderParameter | Mapping[str, Any] | None = ...,
        denseblock_param: DenseBlockParameter | Mapping[str, Any] | None = ...,
        forward_type: int | str | None = ...,
        backward_type: int | str | None = ...,
        forward_math: int | str | None = ...,
        backward_math: int | str | None = ...,
        engine: str | None = ...,
        own_fields: Iterable[str] | None = ...,
    ) -> None: ...

class ParamSpec(Message):
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float
    param_propagate_down: bool
    def __init__(
        self,
        *,
        name: str | None = ...,
        share_mode: int | str | None = ...,
        lr_mult: float | None = ...,
        decay_mult: float | None = ...,
        param_propagate_down: bool | None = ...,
    ) -> None: ...

class FillerParameter(Message):
    VarianceNorm: ClassVar[EnumTypeWrapper]
    FAN_IN: ClassVar[int]
    FAN_OUT: ClassVar[int]
    AVERAGE: ClassVar[int]
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    def __init__(
        self,
        *,
        type: str | None = ...,
        value: float | None = ...,
        min: float | None = ...,
        max: float | None = ...,
        mean: float | None = ...,
        std: float | None = ...,
        sparse: int | None = ...,
        variance_norm: int | str | None = ...,
    ) -> None: ...

class TransformationParameter(Message):
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    force_color: bool
    force_gray: bool
    @property
    def resize_param(self) -> RepeatedCompositeFieldContainer[ResizeParameter]: ...
    @property
    def noise_param(self) -> NoiseParameter: ...
    @property
    def emit_constraint(self) -> EmitConstraint: ...
    crop_h: int
    crop_w: int
    @property
    def distort_param(self) -> DistortionParameter: ...
    @property
    def expand_param(self) -> ExpansionParameter: ...
    @property
    def scale_factors(self) -> RepeatedScalarFieldContainer[float]: ...
    crop_width: int
    crop_height: int
    def __init__(
        self,
        *,
        scale: float | None = ...,
        mirror: bool | None = ...,
        crop_size: int | None = ...,
        mean_file: str | None = ...,
        mean_value: Iterable[float] | None = ...,
        force_color: bool | None = ...,
        force_gray: bool | None = ...,
        resize_param: Iterable[ResizeParameter | Mapping[str, Any]] | None = ...,
        noise_param: NoiseParameter | Mapping[str, Any] | None = ...,
        emit_constraint: EmitConstraint | Mapping[str, Any] | None = ...,
        crop_h: int | None = ...,
        crop_w: int | None = ...,
        distort_param: DistortionParameter | Mapping[str, Any] | None = ...,
        expand_param: ExpansionParameter | Mapping[str, Any] | None = ...,
        scale_factors: Iterable[float] | None = ...,
        crop_width: int | None = ...,
        crop_height: int | None = ...,
    ) -> None: ...

class LossParameter(Message):
    NormalizationMode: ClassVar[EnumTypeWrapper]
    FULL: ClassVar[int]
    VALID: ClassVar[int]
    BATCH_SIZE: ClassVar[int]
    NONE: ClassVar[int]
    PRE_FIXED: ClassVar[int]
    ignore_label: int
    normalize: bool
    normalization: int
    pre_fixed_normalizer: float
    weight_by_label_freqs: bool
    @property
    def class_weighting(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        ignore_label: int | None = ...,
        normalize: bool | None = ...,
        normalization: int | str | None = ...,
        pre_fixed_normalizer: float | None = ...,
        weight_by_label_freqs: bool | None = ...,
        class_weighting: Iterable[float] | None = ...,
    ) -> None: ...

class AccuracyParameter(Message):
    top_k: int
    axis: int
    ignore_label: int
    def __init__(
        self,
        *,
        top_k: int | None = ...,
        axis: int | None = ...,
        ignore_label: int | None = ...,
    ) -> None: ...

class ArgMaxParameter(Message):
    out_max_val: bool
    top_k: int
    axis: int
    def __init__(
        self,
        *,
        out_max_val: bool | None = ...,
        top_k: int | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class BatchNormParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    engine: int
    def __init__(
        self,
        *,
        use_global_stats: bool | None = ...,
        moving_average_fraction: float | None = ...,
        eps: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class BiasParameter(Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class ClipParameter(Message):
    min: float
    max: float
    def __init__(
        self,
        *,
        min: float | None = ...,
        max: float | None = ...,
    ) -> None: ...

class ConcatParameter(Message):
    concat_dim: int
    axis: int
    def __init__(
        self,
        *,
        concat_dim: int | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class ContrastiveLossParameter(Message):
    margin: float
    legacy_version: bool
    def __init__(
        self,
        *,
        margin: float | None = ...,
        legacy_version: bool | None = ...,
    ) -> None: ...

class ConvolutionParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    CuDNNConvolutionAlgorithmSeeker: ClassVar[EnumTypeWrapper]
    GET: ClassVar[int]
    FINDEX: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def pad(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size(self) -> RepeatedScalarFieldContainer[int]: ...
    group: int
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    engine: int
    axis: int
    force_nd_im2col: bool
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_l: int
    pad_r: int
    pad_t: int
    pad_b: int
    cudnn_convolution_algo_seeker: int
    conv_algos_override: str
    conv_algorithm: str
    @property
    def kernel_shape(self) -> BlobShape: ...
    @property
    def pad_shape(self) -> BlobShape: ...
    @property
    def stride_shape(self) -> BlobShape: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        pad: Iterable[int] | None = ...,
        kernel_size: Iterable[int] | None = ...,
        group: int | None = ...,
        stride: Iterable[int] | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        engine: int | str | None = ...,
        axis: int | None = ...,
        force_nd_im2col: bool | None = ...,
        dilation: Iterable[int] | None = ...,
        pad_l: int | None = ...,
        pad_r: int | None = ...,
        pad_t: int | None = ...,
        pad_b: int | None = ...,
        cudnn_convolution_algo_seeker: int | str | None = ...,
        conv_algos_override: str | None = ...,
        conv_algorithm: str | None = ...,
        kernel_shape: BlobShape | Mapping[str, Any] | None = ...,
        pad_shape: BlobShape | Mapping[str, Any] | None = ...,
        stride_shape: BlobShape | Mapping[str, Any] | None = ...,
    ) -> None: ...

class CropParameter(Message):
    axis: int
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        offset: Iterable[int] | None = ...,
    ) -> None: ...

class DataParameter(Message):
    DB: ClassVar[EnumTypeWrapper]
    LEVELDB: ClassVar[int]
    LMDB: ClassVar[int]
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    backend: int
    force_encoded_color: bool
    prefetch: int
    shuffle: bool
    threads: int
    parser_threads: int
    cache: bool
    precache: bool
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        rand_skip: int | None = ...,
        backend: int | str | None = ...,
        force_encoded_color: bool | None = ...,
        prefetch: int | None = ...,
        shuffle: bool | None = ...,
        threads: int | None = ...,
        parser_threads: int | None = ...,
        cache: bool | None = ...,
        precache: bool | None = ...,
    ) -> None: ...

class DenseImageDataParameter(Message):
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    mean_file: str
    root_folder: str
    mirror: bool
    crop_width: int
    crop_height: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        mean_file: str | None = ...,
        root_folder: str | None = ...,
        mirror: bool | None = ...,
        crop_width: int | None = ...,
        crop_height: int | None = ...,
    ) -> None: ...

class DropoutParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    dropout_ratio: float
    engine: int
    sample_weights_test: bool
    scale_train: bool
    def __init__(
        self,
        *,
        dropout_ratio: float | None = ...,
        engine: int | str | None = ...,
        sample_weights_test: bool | None = ...,
        scale_train: bool | None = ...,
    ) -> None: ...

class DummyDataParameter(Message):
    @property
    def data_filler(self) -> RepeatedCompositeFieldContainer[FillerParameter]: ...
    @property
    def num(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def channels(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def height(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def width(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    def __init__(
        self,
        *,
        data_filler: Iterable[FillerParameter | Mapping[str, Any]] | None = ...,
        num: Iterable[int] | None = ...,
        channels: Iterable[int] | None = ...,
        height: Iterable[int] | None = ...,
        width: Iterable[int] | None = ...,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class EltwiseParameter(Message):
    EltwiseOp: ClassVar[EnumTypeWrapper]
    PROD: ClassVar[int]
    SUM: ClassVar[int]
    MAX: ClassVar[int]
    operation: int
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...
    stable_prod_grad: bool
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        coeff: Iterable[float] | None = ...,
        stable_prod_grad: bool | None = ...,
    ) -> None: ...

class ELUParameter(Message):
    alpha: float
    def __init__(
        self,
        *,
        alpha: float | None = ...,
    ) -> None: ...

class EmbedParameter(Message):
    num_output: int
    input_dim: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        input_dim: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class ExpParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class FlattenParameter(Message):
    axis: int
    end_axis: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        end_axis: int | None = ...,
    ) -> None: ...

class HDF5DataParameter(Message):
    source: str
    batch_size: int
    shuffle: bool
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        shuffle: bool | None = ...,
    ) -> None: ...

class HDF5OutputParameter(Message):
    file_name: str
    def __init__(
        self,
        *,
        file_name: str | None = ...,
    ) -> None: ...

class HingeLossParameter(Message):
    Norm: ClassVar[EnumTypeWrapper]
    L1: ClassVar[int]
    L2: ClassVar[int]
    norm: int
    def __init__(
        self,
        *,
        norm: int | str | None = ...,
    ) -> None: ...

class ImageDataParameter(Message):
    LabelType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    PIXEL: ClassVar[int]
    IMAGE: ClassVar[int]
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    root_folder: str
    label_type: int
    ignore_label: int
    threads: int
    cache: bool
    precache: bool
    new_dim: int
    bicubic: bool
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        root_folder: str | None = ...,
        label_type: int | str | None = ...,
        ignore_label: int | None = ...,
        threads: int | None = ...,
        cache: bool | None = ...,
        precache: bool | None = ...,
        new_dim: int | None = ...,
        bicubic: bool | None = ...,
    ) -> None: ...

class InfogainLossParameter(Message):
    source: str
    axis: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class InnerProductParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    axis: int
    transpose: bool
    engine: int
    normalize: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        transpose: bool | None = ...,
        engine: int | str | None = ...,
        normalize: bool | None = ...,
    ) -> None: ...

class InputParameter(Message):
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    def __init__(
        self,
        *,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class LogParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class LRNParameter(Message):
    NormRegion: ClassVar[EnumTypeWrapper]
    ACROSS_CHANNELS: ClassVar[int]
    WITHIN_CHANNEL: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    def __init__(
        self,
        *,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        norm_region: int | str | None = ...,
        k: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class MemoryDataParameter(Message):
    batch_size: int
    channels: int
    height: int
    width: int
    def __init__(
        self,
        *,
        batch_size: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
    ) -> None: ...

class MVNParameter(Message):
    normalize_variance: bool
    across_channels: bool
    eps: float
    def __init__(
        self,
        *,
        normalize_variance: bool | None = ...,
        across_channels: bool | None = ...,
        eps: float | None = ...,
    ) -> None: ...

class ParameterParameter(Message):
    @property
    def shape(self) -> BlobShape: ...
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
    ) -> None: ...

class PoolingParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    AVE_EXC_PAD: ClassVar[int]
    AVE_TF: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    RoundMode: ClassVar[EnumTypeWrapper]
    CEIL: ClassVar[int]
    FLOOR: ClassVar[int]
    pool: int
    kernel_size: int
    stride: int
    pad: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    ceil_mode: bool
    pad_l: int
    pad_r: int
    pad_t: int
    pad_b: int
    @property
    def kernel_shape(self) -> BlobShape: ...
    @property
    def pad_shape(self) -> BlobShape: ...
    @property
    def stride_shape(self) -> BlobShape: ...
    def __init__(
        self,
        *,
        pool: int | str | None = ...,
        kernel_size: int | None = ...,
        stride: int | None = ...,
        pad: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        engine: int | str | None = ...,
        global_pooling: bool | None = ...,
        round_mode: int | str | None = ...,
        ceil_mode: bool | None = ...,
        pad_l: int | None = ...,
        pad_r: int | None = ...,
        pad_t: int | None = ...,
        pad_b: int | None = ...,
        kernel_shape: BlobShape | Mapping[str, Any] | None = ...,
        pad_shape: BlobShape | Mapping[str, Any] | None = ...,
        stride_shape: BlobShape | Mapping[str, Any] | None = ...,
    ) -> None: ...

class PowerParameter(Message):
    power: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        power: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class PReLUParameter(Message):
    @property
    def filler(self) -> FillerParameter: ...
    channel_shared: bool
    def __init__(
        self,
        *,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        channel_shared: bool | None = ...,
    ) -> None: ...

class PythonParameter(Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool
    def __init__(
        self,
        *,
        module: str | None = ...,
        layer: str | None = ...,
        param_str: str | None = ...,
        share_in_parallel: bool | None = ...,
    ) -> None: ...

class RecurrentParameter(Message):
    num_output: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    debug_info: bool
    expose_hidden: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        expose_hidden: bool | None = ...,
    ) -> None: ...

class ReductionParameter(Message):
    ReductionOp: ClassVar[EnumTypeWrapper]
    SUM: ClassVar[int]
    ASUM: ClassVar[int]
    SUMSQ: ClassVar[int]
    MEAN: ClassVar[int]
    operation: int
    axis: int
    coeff: float
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        axis: int | None = ...,
        coeff: float | None = ...,
    ) -> None: ...

class ReLUParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    negative_slope: float
    engine: int
    relu6: bool
    def __init__(
        self,
        *,
        negative_slope: float | None = ...,
        engine: int | str | None = ...,
        relu6: bool | None = ...,
    ) -> None: ...

class ReshapeParameter(Message):
    @property
    def shape(self) -> BlobShape: ...
    axis: int
    num_axes: int
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        num_axes: int | None = ...,
    ) -> None: ...

class ScaleParameter(Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    bias_term: bool
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_term: bool | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class SigmoidParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...

class SliceParameter(Message):
    slice_dim: int
    @property
    def slice_point(self) -> RepeatedScalarFieldContainer[int]: ...
    axis: int
    def __init__(
        self,
        *,
        slice_dim: int | None = ...,
        slice_point: Iterable[int] | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class SoftmaxParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    engine: int
    axis: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class SPPParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    pyramid_height: int
    pool: int
    engine: int
    def __init__(
        self,
        *,
        pyramid_height: int | None = ...,
        pool: int | str | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class SwishParameter(Message):
    beta: float
    def __init__(
        self,
        *,
        beta: float | None = ...,
    ) -> None: ...

class TanHParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...

class ThresholdParameter(Message):
    threshold: float
    def __init__(
        self,
        *,
        threshold: float | None = ...,
    ) -> None: ...

class TileParameter(Message):
    axis: int
    tiles: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        tiles: int | None = ...,
    ) -> None: ...

class WindowDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        fg_threshold: float | None = ...,
        bg_threshold: float | None = ...,
        fg_fraction: float | None = ...,
        context_pad: int | None = ...,
        crop_mode: str | None = ...,
        cache_images: bool | None = ...,
        root_folder: str | None = ...,
    ) -> None: ...

class SolverParameter(Message):
    SnapshotFormat: ClassVar[EnumTypeWrapper]
    HDF5: ClassVar[int]
    BINARYPROTO: ClassVar[int]
    SolverMode: ClassVar[EnumTypeWrapper]
    CPU: ClassVar[int]
    GPU: ClassVar[int]
    SolverType: ClassVar[EnumTypeWrapper]
    SGD: ClassVar[int]
    NESTEROV: ClassVar[int]
    ADAGRAD: ClassVar[int]
    RMSPROP: ClassVar[int]
    ADADELTA: ClassVar[int]
    ADAM: ClassVar[int]
    train_net: str
    @property
    def test_net(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def test_iter(self) -> RepeatedScalarFieldContainer[int]: ...
    test_interval: int
    base_lr: float
    display: int
    max_iter: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    stepsize: int
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    solver_mode: int
    device_id: int
    test_compute_loss: bool
    random_seed: int
    @property
    def train_net_param(self) -> NetParameter: ...
    @property
    def test_net_param(self) -> RepeatedCompositeFieldContainer[NetParameter]: ...
    debug_info: bool
    net: str
    @property
    def net_param(self) -> NetParameter: ...
    @property
    def train_state(self) -> NetState: ...
    @property
    def test_state(self) -> RepeatedCompositeFieldContainer[NetState]: ...
    snapshot_after_train: bool
    regularization_type: str
    solver_type: int
    delta: float
    test_initialization: bool
    average_loss: int
    @property
    def stepvalue(self) -> RepeatedScalarFieldContainer[int]: ...
    clip_gradients: float
    iter_size: int
    snapshot_format: int
    rms_decay: float
    momentum2: float
    type: str
    layer_wise_reduce: bool
    @property
    def weights(self) -> RepeatedScalarFieldContainer[str]: ...
    eval_type: str
    ap_version: str
    show_per_class_result: bool
    solver_data_type: int
    @property
    def plateau_winsize(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        train_net: str | None = ...,
        test_net: Iterable[str] | None = ...,
        test_iter: Iterable[int] | None = ...,
        test_interval: int | None = ...,
        base_lr: float | None = ...,
        display: int | None = ...,
        max_iter: int | None = ...,
        lr_policy: str | None = ...,
        gamma: float | None = ...,
        power: float | None = ...,
        momentum: float | None = ...,
        weight_decay: float | None = ...,
        stepsize: int | None = ...,
        snapshot: int | None = ...,
        snapshot_prefix: str | None = ...,
        snapshot_diff: bool | None = ...,
        solver_mode: int | str | None = ...,
        device_id: int | None = ...,
        test_compute_loss: bool | None = ...,
        random_seed: int | None = ...,
        train_net_param: NetParameter | Mapping[str, Any] | None = ...,
        test_net_param: Iterable[NetParameter | Mapping[str, Any]] | None = ...,
        debug_info: bool | None = ...,
        net: str | None = ...,
        net_param: NetParameter | Mapping[str, Any] | None = ...,
        train_state: NetState | Mapping[str, Any] | None = ...,
        test_state: Iterable[NetState | Mapping[str, Any]] | None = ...,
        snapshot_after_train: bool | None = ...,
        regularization_type: str | None = ...,
        solver_type: int | str | None = ...,
        delta: float | None = ...,
        test_initialization: bool | None = ...,
        average_loss: int | None = ...,
        stepvalue: Iterable[int] | None = ...,
        clip_gradients: float | None = ...,
        iter_size: int | None = ...,
        snapshot_format: int | str | None = ...,
        rms_decay: float | None = ...,
        momentum2: float | None = ...,
        type: str | None = ...,
        layer_wise_reduce: bool | None = ...,
        weights: Iterable[str] | None = ...,
        eval_type: str | None = ...,
        ap_version: str | None = ...,
        show_per_class_result: bool | None = ...,
        solver_data_type: int | str | None = ...,
        plateau_winsize: Iterable[int] | None = ...,
    ) -> None: ...

class SolverState(Message):
    iter: int
    learned_net: str
    @property
    def history(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    current_step: int
    minimum_loss: float
    iter_last_event: int
    def __init__(
        self,
        *,
        iter: int | None = ...,
        learned_net: str | None = ...,
        history: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        current_step: int | None = ...,
        minimum_loss: float | None = ...,
        iter_last_event: int | None = ...,
    ) -> None: ...

class LabelMapItem(Message):
    name: str
    label: int
    display_name: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        label: int | None = ...,
        display_name: str | None = ...,
    ) -> None: ...

class LabelMap(Message):
    @property
    def item(self) -> RepeatedCompositeFieldContainer[LabelMapItem]: ...
    def __init__(
        self,
        *,
        item: Iterable[LabelMapItem | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class Sampler(Message):
    min_scale: float
    max_scale: float
    min_aspect_ratio: float
    max_aspect_ratio: float
    def __init__(
        self,
        *,
        min_scale: float | None = ...,
        max_scale: float | None = ...,
        min_aspect_ratio: float | None = ...,
        max_aspect_ratio: float | None = ...,
    ) -> None: ...

class SampleConstraint(Message):
    min_jaccard_overlap: float
    max_jaccard_overlap: float
    min_sample_coverage: float
    max_sample_coverage: float
    min_object_coverage: float
    max_object_coverage: float
    def __init__(
        self,
        *,
        min_jaccard_overlap: float | None = ...,
        max_jaccard_overlap: float | None = ...,
        min_sample_coverage: float | None = ...,
        max_sample_coverage: float | None = ...,
        min_object_coverage: float | None = ...,
        max_object_coverage: float | None = ...,
    ) -> None: ...

class BatchSampler(Message):
    use_original_image: bool
    @property
    def sampler(self) -> Sampler: ...
    @property
    def sample_constraint(self) -> SampleConstraint: ...
    max_sample: int
    max_trials: int
    def __init__(
        self,
        *,
        use_original_image: bool | None = ...,
        sampler: Sampler | Mapping[str, Any] | None = ...,
        sample_constraint: SampleConstraint | Mapping[str, Any] | None = ...,
        max_sample: int | None = ...,
        max_trials: int | None = ...,
    ) -> None: ...

class EmitConstraint(Message):
    EmitType: ClassVar[EnumTypeWrapper]
    CENTER: ClassVar[int]
    MIN_OVERLAP: ClassVar[int]
    emit_type: int
    emit_overlap: float
    def __init__(
        self,
        *,
        emit_type: int | str | None = ...,
        emit_overlap: float | None = ...,
    ) -> None: ...

class NormalizedBBox(Message):
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: int
    difficult: bool
    score: float
    size: float
    def __init__(
        self,
        *,
        xmin: float | None = ...,
        ymin: float | None = ...,
        xmax: float | None = ...,
        ymax: float | None = ...,
        label: int | None = ...,
        difficult: bool | None = ...,
        score: float | None = ...,
        size: float | None = ...,
    ) -> None: ...

class Annotation(Message):
    instance_id: int
    @property
    def bbox(self) -> NormalizedBBox: ...
    def __init__(
        self,
        *,
        instance_id: int | None = ...,
        bbox: NormalizedBBox | Mapping[str, Any] | None = ...,
    ) -> None: ...

class AnnotationGroup(Message):
    group_label: int
    @property
    def annotation(self) -> RepeatedCompositeFieldContainer[Annotation]: ...
    def __init__(
        self,
        *,
        group_label: int | None = ...,
        annotation: Iterable[Annotation | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class AnnotatedDatum(Message):
    AnnotationType: ClassVar[EnumTypeWrapper]
    BBOX: ClassVar[int]
    @property
    def datum(self) -> Datum: ...
    type: int
    @property
    def annotation_group(self) -> RepeatedCompositeFieldContainer[AnnotationGroup]: ...
    def __init__(
        self,
        *,
        datum: Datum | Mapping[str, Any] | None = ...,
        type: int | str | None = ...,
        annotation_group: Iterable[AnnotationGroup | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class ResizeParameter(Message):
    Resize_mode: ClassVar[EnumTypeWrapper]
    WARP: ClassVar[int]
    FIT_SMALL_SIZE: ClassVar[int]
    FIT_LARGE_SIZE_AND_PAD: ClassVar[int]
    Pad_mode: ClassVar[EnumTypeWrapper]
    CONSTANT: ClassVar[int]
    MIRRORED: ClassVar[int]
    REPEAT_NEAREST: ClassVar[int]
    Interp_mode: ClassVar[EnumTypeWrapper]
    LINEAR: ClassVar[int]
    AREA: ClassVar[int]
    NEAREST: ClassVar[int]
    CUBIC: ClassVar[int]
    LANCZOS4: ClassVar[int]
    prob: float
    resize_mode: int
    height: int
    width: int
    pad_mode: int
    @property
    def pad_value(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def interp_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    height_scale: int
    width_scale: int
    def __init__(
        self,
        *,
        prob: float | None = ...,
        resize_mode: int | str | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        pad_mode: int | str | None = ...,
        pad_value: Iterable[float] | None = ...,
        interp_mode: Iterable[int | str] | None = ...,
        height_scale: int | None = ...,
        width_scale: int | None = ...,
    ) -> None: ...

class SaltPepperParameter(Message):
    fraction: float
    @property
    def value(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        fraction: float | None = ...,
        value: Iterable[float] | None = ...,
    ) -> None: ...

class NoiseParameter(Message):
    prob: float
    hist_eq: bool
    inverse: bool
    decolorize: bool
    gauss_blur: bool
    jpeg: float
    posterize: bool
    erode: bool
    saltpepper: bool
    @property
    def saltpepper_param(self) -> SaltPepperParameter: ...
    clahe: bool
    convert_to_hsv: bool
    convert_to_lab: bool
    def __init__(
        self,
        *,
        prob: float | None = ...,
        hist_eq: bool | None = ...,
        inverse: bool | None = ...,
        decolorize: bool | None = ...,
        gauss_blur: bool | None = ...,
        jpeg: float | None = ...,
        posterize: bool | None = ...,
        erode: bool | None = ...,
        saltpepper: bool | None = ...,
        saltpepper_param: SaltPepperParameter | Mapping[str, Any] | None = ...,
        clahe: bool | None = ...,
        convert_to_hsv: bool | None = ...,
        convert_to_lab: bool | None = ...,
    ) -> None: ...

class DistortionParameter(Message):
    brightness_prob: float
    brightness_delta: float
    contrast_prob: float
    contrast_lower: float
    contrast_upper: float
    hue_prob: float
    hue_delta: float
    saturation_prob: float
    saturation_lower: float
    saturation_upper: float
    random_order_prob: float
    def __init__(
        self,
        *,
        brightness_prob: float | None = ...,
        brightness_delta: float | None = ...,
        contrast_prob: float | None = ...,
        contrast_lower: float | None = ...,
        contrast_upper: float | None = ...,
        hue_prob: float | None = ...,
        hue_delta: float | None = ...,
        saturation_prob: float | None = ...,
        saturation_lower: float | None = ...,
        saturation_upper: float | None = ...,
        random_order_prob: float | None = ...,
    ) -> None: ...

class ExpansionParameter(Message):
    prob: float
    max_expand_ratio: float
    def __init__(
        self,
        *,
        prob: float | None = ...,
        max_expand_ratio: float | None = ...,
    ) -> None: ...

class AnnotatedDataParameter(Message):
    @property
    def batch_sampler(self) -> RepeatedCompositeFieldContainer[BatchSampler]: ...
    label_map_file: str
    anno_type: int
    yolo_data_type: int
    yolo_data_jitter: float
    train_diffcult: bool
    def __init__(
        self,
        *,
        batch_sampler: Iterable[BatchSampler | Mapping[str, Any]] | None = ...,
        label_map_file: str | None = ...,
        anno_type: int | str | None = ...,
        yolo_data_type: int | None = ...,
        yolo_data_jitter: float | None = ...,
        train_diffcult: bool | None = ...,
    ) -> None: ...

class BNParameter(Message):
    BNMode: ClassVar[EnumTypeWrapper]
    LEARN: ClassVar[int]
    INFERENCE: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def shift_filler(self) -> FillerParameter: ...
    bn_mode: int
    @property
    def slope_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    momentum: float
    eps: float
    frozen: bool
    engine: int
    def __init__(
        self,
        *,
        scale_filler: FillerParameter | Mapping[str, Any] | None = ...,
        shift_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bn_mode: int | str | None = ...,
        slope_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        momentum: float | None = ...,
        eps: float | None = ...,
        frozen: bool | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class BoxAnnotatorOHEMParameter(Message):
    roi_per_img: int
    ignore_label: int
    def __init__(
        self,
        *,
        roi_per_img: int | None = ...,
        ignore_label: int | None = ...,
    ) -> None: ...

class CenterLossParameter(Message):
    num_output: int
    @property
    def center_filler(self) -> FillerParameter: ...
    axis: int
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        center_filler: FillerParameter | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class ContinuationIndicatorParameter(Message):
    time_step: int
    batch_size: int
    def __init__(
        self,
        *,
        time_step: int | None = ...,
        batch_size: int | None = ...,
    ) -> None: ...

class CtcLossParameter(Message):
    alphabet_size: int
    time_step: int
    blank_label: int
    blank_index: int
    def __init__(
        self,
        *,
        alphabet_size: int | None = ...,
        time_step: int | None = ...,
        blank_label: int | None = ...,
        blank_index: int | None = ...,
    ) -> None: ...

class CTCDecoderParameter(Message):
    blank_index: int
    ctc_merge_repeated: bool
    def __init__(
        self,
        *,
        blank_index: int | None = ...,
        ctc_merge_repeated: bool | None = ...,
    ) -> None: ...

class DenseBlockParameter(Message):
    numTransition: int
    initChannel: int
    growthRate: int
    pad_h: int
    pad_w: int
    conv_verticalStride: int
    conv_horizentalStride: int
    filter_H: int
    filter_W: int
    @property
    def Filter_Filler(self) -> FillerParameter: ...
    @property
    def BN_Scaler_Filler(self) -> FillerParameter: ...
    @property
    def BN_Bias_Filler(self) -> FillerParameter: ...
    gpuIdx: int
    use_dropout: bool
    dropout_amount: float
    use_BC: bool
    BC_ultra_space_efficient: bool
    workspace_MB: int
    moving_average_fraction: float
    def __init__(
        self,
        *,
        numTransition: int | None = ...,
        initChannel: int | None = ...,
        growthRate: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        conv_verticalStride: int | None = ...,
        conv_horizentalStride: int | None = ...,
        filter_H: int | None = ...,
        filter_W: int | None = ...,
        Filter_Filler: FillerParameter | Mapping[str, Any] | None = ...,
        BN_Scaler_Filler: FillerParameter | Mapping[str, Any] | None = ...,
        BN_Bias_Filler: FillerParameter | Mapping[str, Any] | None = ...,
        gpuIdx: int | None = ...,
        use_dropout: bool | None = ...,
        dropout_amount: float | None = ...,
        use_BC: bool | None = ...,
        BC_ultra_space_efficient: bool | None = ...,
        workspace_MB: int | None = ...,
        moving_average_fraction: float | None = ...,
    ) -> None: ...

class DetectionEvaluateParameter(Message):
    num_classes: int
    background_label_id: int
    overlap_threshold: float
    evaluate_difficult_gt: bool
    name_size_file: str
    @property
    def resize_param(self) -> ResizeParameter: ...
    def __init__(
        self,
        *,
        num_classes: int | None = ...,
        background_label_id: int | None = ...,
        overlap_threshold: float | None = ...,
        evaluate_difficult_gt: bool | None = ...,
        name_size_file: str | None = ...,
        resize_param: ResizeParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class NonMaximumSuppressionParameter(Message):
    nms_threshold: float
    top_k: int
    eta: float
    def __init__(
        self,
        *,
        nms_threshold: float | None = ...,
        top_k: int | None = ...,
        eta: float | None = ...,
    ) -> None: ...

class SaveOutputParameter(Message):
    output_directory: str
    output_name_prefix: str
    output_format: str
    label_map_file: str
    name_size_file: str
    num_test_image: int
    @property
    def resize_param(self) -> ResizeParameter: ...
    def __init__(
        self,
        *,
        output_directory: str | None = ...,
        output_name_prefix: str | None = ...,
        output_format: str | None = ...,
        label_map_file: str | None = ...,
        name_size_file: str | None = ...,
        num_test_image: int | None = ...,
        resize_param: ResizeParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class DetectionOutputParameter(Message):
    num_classes: int
    share_location: bool
    background_label_id: int
    @property
    def nms_param(self) -> NonMaximumSuppressionParameter: ...
    @property
    def save_output_param(self) -> SaveOutputParameter: ...
    code_type: int
    keep_top_k: int
    variance_encoded_in_target: bool
    confidence_threshold: float
    visualize: bool
    visualize_threshold: float
    save_file: str
    def __init__(
        self,
        *,
        num_classes: int | None = ...,
        share_location: bool | None = ...,
        background_label_id: int | None = ...,
        nms_param: NonMaximumSuppressionParameter | Mapping[str, Any] | None = ...,
        save_output_param: SaveOutputParameter | Mapping[str, Any] | None = ...,
        code_type: int | str | None = ...,
        keep_top_k: int | None = ...,
        variance_encoded_in_target: bool | None = ...,
        confidence_threshold: float | None = ...,
        visualize: bool | None = ...,
        visualize_threshold: float | None = ...,
        save_file: str | None = ...,
    ) -> None: ...

class InterpParameter(Message):
    height: int
    width: int
    zoom_factor: int
    shrink_factor: int
    pad_beg: int
    pad_end: int
    def __init__(
        self,
        *,
        height: int | None = ...,
        width: int | None = ...,
        zoom_factor: int | None = ...,
        shrink_factor: int | None = ...,
        pad_beg: int | None = ...,
        pad_end: int | None = ...,
    ) -> None: ...

class LabelsequenceAccuracyParameter(Message):
    blank_label: int
    def __init__(
        self,
        *,
        blank_label: int | None = ...,
    ) -> None: ...

class LSTMParameter(Message):
    num_output: int
    clipping_threshold: float
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    batch_size: int
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        clipping_threshold: float | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        batch_size: int | None = ...,
    ) -> None: ...

class LiftedStructSimilaritySoftmaxLossParameter(Message):
    margin: float
    def __init__(
        self,
        *,
        margin: float | None = ...,
    ) -> None: ...

class MarginInnerProductParameter(Message):
    MarginType: ClassVar[EnumTypeWrapper]
    SINGLE: ClassVar[int]
    DOUBLE: ClassVar[int]
    TRIPLE: ClassVar[int]
    QUADRUPLE: ClassVar[int]
    num_output: int
    type: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    axis: int
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        type: int | str | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        base: float | None = ...,
        gamma: float | None = ...,
        power: float | None = ...,
        iteration: int | None = ...,
        lambda_min: float | None = ...,
    ) -> None: ...

class FaceNormalizeParameter(Message):
    normalize_type: str
    fix_gradient: bool
    bp_norm: bool
    def __init__(
        self,
        *,
        normalize_type: str | None = ...,
        fix_gradient: bool | None = ...,
        bp_norm: bool | None = ...,
    ) -> None: ...

class FlipParameter(Message):
    flip_width: bool
    flip_height: bool
    def __init__(
        self,
        *,
        flip_width: bool | None = ...,
        flip_height: bool | None = ...,
    ) -> None: ...

class LabelSpecificAddParameter(Message):
    bias: float
    transform_test: bool
    bias_base: float
    bias_gamma: float
    bias_power: float
    bias_min: float
    bias_max: float
    iteration: int
    def __init__(
        self,
        *,
        bias: float | None = ...,
        transform_test: bool | None = ...,
        bias_base: float | None = ...,
        bias_gamma: float | None = ...,
        bias_power: float | None = ...,
        bias_min: float | None = ...,
        bias_max: float | None = ...,
        iteration: int | None = ...,
    ) -> None: ...

class TransposeParameter(Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        dim: Iterable[int] | None = ...,
    ) -> None: ...

class MaskResizeParameter(Message):
    output_height: int
    output_width: int
    def __init__(
        self,
        *,
        output_height: int | None = ...,
        output_width: int | None = ...,
    ) -> None: ...

class MultiBoxLossParameter(Message):
    LocLossType: ClassVar[EnumTypeWrapper]
    L2: ClassVar[int]
    SMOOTH_L1: ClassVar[int]
    ConfLossType: ClassVar[EnumTypeWrapper]
    SOFTMAX: ClassVar[int]
    LOGISTIC: ClassVar[int]
    MatchType: ClassVar[EnumTypeWrapper]
    BIPARTITE: ClassVar[int]
    PER_PREDICTION: ClassVar[int]
    MiningType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    MAX_NEGATIVE: ClassVar[int]
    HARD_EXAMPLE: ClassVar[int]
    loc_loss_type: int
    conf_loss_type: int
    loc_weight: float
    num_classes: int
    share_location: bool
    match_type: int
    overlap_threshold: float
    use_prior_for_matching: bool
    background_label_id: int
    use_difficult_gt: bool
    do_neg_mining: bool
    neg_pos_ratio: float
    neg_overlap: float
    code_type: int
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_bbox: bool
    bp_inside: bool
    mining_type: int
    @property
    def nms_param(self) -> NonMaximumSuppressionParameter: ...
    sample_size: int
    use_prior_for_nms: bool
    def __init__(
        self,
        *,
        loc_loss_type: int | str | None = ...,
        conf_loss_type: int | str | None = ...,
        loc_weight: float | None = ...,
        num_classes: int | None = ...,
        share_location: bool | None = ...,
        match_type: int | str | None = ...,
        overlap_threshold: float | None = ...,
        use_prior_for_matching: bool | None = ...,
        background_label_id: int | None = ...,
        use_difficult_gt: bool | None = ...,
        do_neg_mining: bool | None = ...,
        neg_pos_ratio: float | None = ...,
        neg_overlap: float | None = ...,
        code_type: int | str | None = ...,
        encode_variance_in_target: bool | None = ...,
        map_object_to_agnostic: bool | None = ...,
        ignore_cross_boundary_bbox: bool | None = ...,
        bp_inside: bool | None = ...,
        mining_type: int | str | None = ...,
        nms_param: NonMaximumSuppressionParameter | Mapping[str, Any] | None = ...,
        sample_size: int | None = ...,
        use_prior_for_nms: bool | None = ...,
    ) -> None: ...

class NormalizeParameter(Message):
    across_spatial: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    channel_shared: bool
    eps: float
    def __init__(
        self,
        *,
        across_spatial: bool | None = ...,
        scale_filler: FillerParameter | Mapping[str, Any] | None = ...,
        channel_shared: bool | None = ...,
        eps: float | None = ...,
    ) -> None: ...

class PermuteParameter(Message):
    @property
    def order(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        order: Iterable[int] | None = ...,
    ) -> None: ...

class PriorBoxParameter(Message):
    CodeType: ClassVar[EnumTypeWrapper]
    CORNER: ClassVar[int]
    CENTER_SIZE: ClassVar[int]
    CORNER_SIZE: ClassVar[int]
    @property
    def min_size(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def max_size(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def aspect_ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    flip: bool
    clip: bool
    @property
    def variance(self) -> RepeatedScalarFieldContainer[float]: ...
    img_size: int
    img_h: int
    img_w: int
    step: float
    step_h: float
    step_w: float
    offset: float
    def __init__(
        self,
        *,
        min_size: Iterable[float] | None = ...,
        max_size: Iterable[float] | None = ...,
        aspect_ratio: Iterable[float] | None = ...,
        flip: bool | None = ...,
        clip: bool | None = ...,
        variance: Iterable[float] | None = ...,
        img_size: int | None = ...,
        img_h: int | None = ...,
        img_w: int | None = ...,
        step: float | None = ...,
        step_h: float | None = ...,
        step_w: float | None = ...,
        offset: float | None = ...,
    ) -> None: ...

class ProposalParameter(Message):
    feat_stride: int
    base_size: int
    min_size: int
    @property
    def ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def scale(self) -> RepeatedScalarFieldContainer[float]: ...
    pre_nms_topn: int
    post_nms_topn: int
    nms_thresh: float
    def __init__(
        self,
        *,
        feat_stride: int | None = ...,
        base_size: int | None = ...,
        min_size: int | None = ...,
        ratio: Iterable[float] | None = ...,
        scale: Iterable[float] | None = ...,
        pre_nms_topn: int | None = ...,
        post_nms_topn: int | None = ...,
        nms_thresh: float | None = ...,
    ) -> None: ...

class PSROIPoolingParameter(Message):
    spatial_scale: float
    output_dim: int
    group_size: int
    def __init__(
        self,
        *,
        spatial_scale: float | None = ...,
        output_dim: int | None = ...,
        group_size: int | None = ...,
    ) -> None: ...

class RegionLossParameter(Message):
    side: int
    num_class: int
    bias_match: int
    coords: int
    num: int
    softmax: int
    jitter: float
    rescore: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    absolute: int
    thresh: float
    random: int
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    softmax_tree: str
    class_map: str
    def __init__(
        self,
        *,
        side: int | None = ...,
        num_class: int | None = ...,
        bias_match: int | None = ...,
        coords: int | None = ...,
        num: int | None = ...,
        softmax: int | None = ...,
        jitter: float | None = ...,
        rescore: int | None = ...,
        object_scale: float | None = ...,
        class_scale: float | None = ...,
        noobject_scale: float | None = ...,
        coord_scale: float | None = ...,
        absolute: int | None = ...,
        thresh: float | None = ...,
        random: int | None = ...,
        biases: Iterable[float] | None = ...,
        softmax_tree: str | None = ...,
        class_map: str | None = ...,
    ) -> None: ...

class ReorgParameter(Message):
    stride: int
    reverse: bool
    def __init__(
        self,
        *,
        stride: int | None = ...,
        reverse: bool | None = ...,
    ) -> None: ...

class ReverseParameter(Message):
    axis: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
    ) -> None: ...

class ROIPoolingParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    def __init__(
        self,
        *,
        pooled_h: int | None = ...,
        pooled_w: int | None = ...,
        spatial_scale: float | None = ...,
    ) -> None: ...

class ShuffleChannelParameter(Message):
    group: int
    def __init__(
        self,
        *,
        group: int | None = ...,
    ) -> None: ...

class SmoothL1LossParameter(Message):
    sigma: float
    def __init__(
        self,
        *,
        sigma: float | None = ...,
    ) -> None: ...

class UpsampleParameter(Message):
    scale: int
    scale_h: int
    scale_w: int
    pad_out_h: bool
    pad_out_w: bool
    upsample_h: int
    upsample_w: int
    def __init__(
        self,
        *,
        scale: int | None = ...,
        scale_h: int | None = ...,
        scale_w: int | None = ...,
        pad_out_h: bool | None = ...,
        pad_out_w: bool | None = ...,
        upsample_h: int | None = ...,
        upsample_w: int | None = ...,
    ) -> None: ...

class YoloDetectionOutputParameter(Message):
    side: int
    num_classes: int
    num_box: int
    coords: int
    confidence_threshold: float
    nms_threshold: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    label_map_file: str
    def __init__(
        self,
        *,
        side: int | None = ...,
        num_classes: int | None = ...,
        num_box: int | None = ...,
        coords: int | None = ...,
        confidence_threshold: float | None = ...,
        nms_threshold: float | None = ...,
        biases: Iterable[float] | None = ...,
        label_map_file: str | None = ...,
    ) -> None: ...

class Yolov3DetectionOutputParameter(Message):
    num_classes: int
    confidence_threshold: float
    nms_threshold: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def anchors_scale(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def mask(self) -> RepeatedScalarFieldContainer[int]: ...
    mask_group_num: int
    def __init__(
        self,
        *,
        num_classes: int | None = ...,
        confidence_threshold: float | None = ...,
        nms_threshold: float | None = ...,
        biases: Iterable[float] | None = ...,
        anchors_scale: Iterable[int] | None = ...,
        mask: Iterable[int] | None = ...,
        mask_group_num: int | None = ...,
    ) -> None: ...

class Yolov3Parameter(Message):
    IOU_LOSS: ClassVar[EnumTypeWrapper]
    IOU: ClassVar[int]
    GIOU: ClassVar[int]
    MSE: ClassVar[int]
    DIOU: ClassVar[int]
    CIOU: ClassVar[int]
    side: int
    num_class: int
    num: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    thresh: float
    anchors_scale: int
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def mask(self) -> RepeatedScalarFieldContainer[int]: ...
    use_logic_gradient: bool
    use_focal_loss: bool
    iou_loss: int
    iou_normalizer: float
    iou_thresh: float
    max_delta: float
    accumulate: bool
    label_smooth_eps: float
    def __init__(
        self,
        *,
        side: int | None = ...,
        num_class: int | None = ...,
        num: int | None = ...,
        object_scale: float | None = ...,
        class_scale: float | None = ...,
        noobject_scale: float | None = ...,
        coord_scale: float | None = ...,
        thresh: float | None = ...,
        anchors_scale: int | None = ...,
        biases: Iterable[float] | None = ...,
        mask: Iterable[int] | None = ...,
        use_logic_gradient: bool | None = ...,
        use_focal_loss: bool | None = ...,
        iou_loss: int | str | None = ...,
        iou_normalizer: float | None = ...,
        iou_thresh: float | None = ...,
        max_delta: float | None = ...,
        accumulate: bool | None = ...,
        label_smooth_eps: float | None = ...,
    ) -> None: ...

class V1LayerParameter(Message):
    LayerType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    ACCURACY: ClassVar[int]
    BNLL: ClassVar[int]
    CONCAT: ClassVar[int]
    CONVOLUTION: ClassVar[int]
    DATA: ClassVar[int]
    DROPOUT: ClassVar[int]
    EUCLIDEAN_LOSS: ClassVar[int]
    FLATTEN: ClassVar[int]
    HDF5_DATA: ClassVar[int]
    HDF5_OUTPUT: ClassVar[int]
    IM2COL: ClassVar[int]
    IMAGE_DATA: ClassVar[int]
    INFOGAIN_LOSS: ClassVar[int]
    INNER_PRODUCT: ClassVar[int]
    LRN: ClassVar[int]
    MULTINOMIAL_LOGISTIC_LOSS: ClassVar[int]
    POOLING: ClassVar[int]
    RELU: ClassVar[int]
    SIGMOID: ClassVar[int]
    SOFTMAX: ClassVar[int]
    SOFTMAX_LOSS: ClassVar[int]
    SPLIT: ClassVar[int]
    TANH: ClassVar[int]
    WINDOW_DATA: ClassVar[int]
    ELTWISE: ClassVar[int]
    POWER: ClassVar[int]
    SIGMOID_CROSS_ENTROPY_LOSS: ClassVar[int]
    HINGE_LOSS: ClassVar[int]
    MEMORY_DATA: ClassVar[int]
    ARGMAX: ClassVar[int]
    THRESHOLD: ClassVar[int]
    DUMMY_DATA: ClassVar[int]
    SLICE: ClassVar[int]
    MVN: ClassVar[int]
    ABSVAL: ClassVar[int]
    SILENCE: ClassVar[int]
    CONTRASTIVE_LOSS: ClassVar[int]
    EXP: ClassVar[int]
    DECONVOLUTION: ClassVar[int]
    INTERP: ClassVar[int]
    CROP: ClassVar[int]
    IMAGE_SEG_DATA: ClassVar[int]
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    @property
    def layer(self) -> V0LayerParameter: ...
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    name: str
    type: int
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def param(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def blob_share_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    def __init__(
        self,
        *,
        layer: V0LayerParameter | Mapping[str, Any] | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        name: str | None = ...,
        type: int | str | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        param: Iterable[str] | None = ...,
        blob_share_mode: Iterable[int | str] | None = ...,
        interp_param: InterpParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class V0LayerParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    name: str
    type: str
    num_output: int
    biasterm: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    k: float
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        num_output: int | None = ...,
        biasterm: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        pad: int | None = ...,
        kernelsize: int | None = ...,
        group: int | None = ...,
        stride: int | None = ...,
        pool: int | str | None = ...,
        dropout_ratio: float | None = ...,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        source: str | None = ...,
        scale: float | None = ...,
        meanfile: str | None = ...,
        batchsize: int | None = ...,
        cropsize: int | None = ...,
        mirror: bool | None = ...,
        k: float | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        rand_skip: int | None = ...,
        det_fg_threshold: float | None = ...,
        det_bg_threshold: float | None = ...,
        det_fg_fraction: float | None = ...,
        det_context_pad: int | None = ...,
        det_crop_mode: str | None = ...,
        new_num: int | None = ...,
        new_channels: int | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        shuffle_images: bool | None = ...,
        concat_dim: int | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
