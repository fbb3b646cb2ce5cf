"""Whose the names are that a net may have and we lack: layer types, fields, values of enums.

Source: the caffe.proto of 33 forks, and 2,072 public prototxts. A fork is called by its repository,
or by what it is known for. A field is Message.field, a value Message.field=VALUE.
"""

NAMES = {
    "AdvKin": """
        KernelLoss LayerParameter.kernel_loss_param
    """,
    "AMSoftmax": """
        GlobalLSEMargin
    """,
    "AMSoftmax, NormFace": """
        AccuracyParameter.min_is_better
        SoftmaxParameter.normalize_type
    """,
    "caffe-fast-rcnn": """
        SolverParameter.stepearly
    """,
    "caffe-heatmap": """
        DataHeatmap EuclideanLossHeatmap LayerParameter.heatmap_data_param
        LayerParameter.visualise
    """,
    "caffe-model": """
        LayerParameter.selu_dropout_param SeLu SeLuDropout
    """,
    "caffe_colorizer": """
        GANLoss LayerParameter.ganloss_param
    """,
    "cell_counting": """
        SoftmaxParameter.pos_cid SoftmaxParameter.pos_mult WeightedSoftmaxWithLoss
    """,
    "channel-pruning": """
        LayerParameter.filter_param
    """,
    "CRF-RNN": """
        V1LayerParameter.multi_stage_meanfield_param
        V1LayerParameter.type=MULTI_STAGE_MEANFIELD
    """,
    "DeBlurNet": """
        ImageDataParameter.label
    """,
    "DeepLab": """
        ConvolutionParameter.hole ConvolutionParameter.hole_h ConvolutionParameter.hole_w
        ImageDataParameter.has_label ImageDataParameter.max_labels
        V1LayerParameter.mat_write_param V1LayerParameter.padding_param
        V1LayerParameter.seg_accuracy_param V1LayerParameter.softmaxloss_param
        V1LayerParameter.strict_dim V1LayerParameter.type=MAT_WRITE
        V1LayerParameter.type=PADDING V1LayerParameter.type=SEG_ACCURACY
    """,
    "DeepLab, PSPNet": """
        LayerParameter.seg_accuracy_param SegAccuracy
    """,
    "DlutMedimgGroup": """
        LayerParameter.pooling_nd_param LossParameter.weight_source PoolingND
        TransformationParameter.crop_size_h TransformationParameter.crop_size_w
    """,
    "DlutMedimgGroup, intel": """
        PoolingParameter.axis
    """,
    "DRFN": """
        LayerParameter.pw_attend_param LossParameter.class_weight_source PwAttend
    """,
    "Face-alignment-mobilenet-v2": """
        ImageFloatData LayerParameter.image_float_data_param LayerParameter.noise_param
        LayerParameter.weight_euclidean_loss_param Noise TransformationParameter.pad_ratio
        WeightEuclideanLoss
    """,
    "FlowNet": """
        DataParameter.disk_reader_threads DataParameter.huge_video_dataset
        DataParameter.limit_samples DataParameter.preselection_file
        DataParameter.preselection_label DataParameter.range_start Warping
    """,
    "HDSR-with-RNN": """
        LayerParameter.Sequence_accuracy_param SequenceAccuracy
    """,
    "intel": """
        BatchNormParameter.bias_term BatchNormParameter.filler BatchNormParameter.relu
        BatchNormParameter.stats_batch_size BatchNormParameter.use_weight_bias
        ConcatParameter.per_fla_fuse ConvolutionParameter.coeff
        ConvolutionParameter.negative_slope ConvolutionParameter.relu DataParameter.side
        EvalDetection InnerProductParameter.negative_slope InnerProductParameter.relu
        LayerParameter.eval_detection_param LayerParameter.quantization_param
        NetParameter.bn_stats_batch_size NetParameter.multinode
        PoolingParameter.avg_include_pad PoolingParameter.kernel_size_3d
        PoolingParameter.pad_3d PoolingParameter.stride_3d ReLUParameter.fuse
        SolverParameter.local_gw_ratio SolverParameter.local_lr_auto
        SolverParameter.test_offset TransformationParameter.pad
        TransformationParameter.random_aspect_ratio_param
        TransformationParameter.random_resize_param
    """,
    "intel, jolibrain": """
        SolverParameter.warmup_iter SolverParameter.warmup_start_lr
    """,
    "Joint-Verification-Identification": """
        LayerParameter.quartet_loss_param QuartetLoss
    """,
    "jolibrain": """
        ImageDataParameter.label_size SparseData SparseInnerProduct
    """,
    "kaggle-driver": """
        LayerParameter.picpac_param PicPac
    """,
    "LRCN": """
        TransformationParameter.flow
    """,
    "LRCN, intel": """
        ImageDataParameter.min_height ImageDataParameter.min_width
    """,
    "MobileNet-YOLO": """
        AssistedExcitation LaneData LayerParameter.segmentation_evaluate_param
        LayerParameter.yolo_seg_param SegmentationEvaluate YoloSeg
    """,
    "MobileNet-YOLO, intel": """
        SolverParameter.stageiter SolverParameter.stagelr
    """,
    "MobileNetv2": """
        LayerParameter.resize_param Resize TransformationParameter.apply_probability
        TransformationParameter.contrast_brightness_adjustment
        TransformationParameter.debug_params TransformationParameter.max_color_shift
        TransformationParameter.max_contrast TransformationParameter.max_rotation_angle
        TransformationParameter.max_smooth TransformationParameter.min_contrast
        TransformationParameter.smooth_filtering
    """,
    "MS-CNN": """
        BboxAccuracy BoxOutput DecodeBBox DetectionAccuracy DetectionLoss ImageGtData
        LayerParameter.bbox_reg_param LayerParameter.box_output_param
        LayerParameter.detection_accuracy_param LayerParameter.detection_loss_param
        LayerParameter.image_gt_data_param LayerParameter.proposal_target_param
        ProposalTarget ROIAlign
    """,
    "NormFace": """
        GeneralContrastiveLoss GeneralTripletLoss InnerDistance LabelSpecificRescale
        LayerParameter.general_contrastive_loss_param
        LayerParameter.general_triplet_loss_param LayerParameter.inner_distance_param
        LayerParameter.label_specific_rescale_param ParameterParameter.blob_filler
        ScaleParameter.min_value
    """,
    "NVIDIA": """
        BatchNormParameter.scale_bias BatchNormParameter.scale_filler
        DetectNetTransformation DropoutParameter.random_seed
        ImageDataParameter.dataset_share_per_node ImageDataParameter.short_side
        LayerParameter.detectnet_augmentation_param
        LayerParameter.detectnet_groundtruth_param LayerParameter.trt_param
        PoolingParameter.torch_pooling SolverParameter.larc SolverParameter.larc_eta
        SolverParameter.larc_policy SolverParameter.larc_turbo SolverParameter.max_momentum
        SolverParameter.momentum_policy SolverParameter.momentum_power
        SolverParameter.rampup_interval SolverParameter.rampup_lr
        TransformationParameter.allow_upscale
        TransformationParameter.horizontal_stretch_lower
        TransformationParameter.horizontal_stretch_upper
        TransformationParameter.img_rand_resize_lower
        TransformationParameter.img_rand_resize_upper
        TransformationParameter.vertical_stretch_lower
        TransformationParameter.vertical_stretch_upper
    """,
    "NVIDIA, intel": """
        BatchNormParameter.bias_filler LossParameter.label_smoothing
    """,
    "NVIDIA, jolibrain": """
        SolverParameter.min_lr
    """,
    "OpenPose": """
        CPMData LayerParameter.cpm_transform_param
    """,
    "Pai_Caffe_cifar10": """
        BinaryData LayerParameter.binary_data_param SolverParameter.data_distribute_mode
        SolverParameter.model_average_iter_interval
    """,
    "PSPNet, caffe_ocr, DeepLab v2": """
        BatchNormParameter.update_global_stats
    """,
    "pynetbuilder": """
        MemoryDataParameter.share_in_parallel MemoryDataParameter.source
    """,
    "RAS_ECCV18": """
        ImageDataParameter.normalize
    """,
    "SemanticLabelingDemo": """
        LabelData LayerParameter.seg_param Segmentation
    """,
    "SSD": """
        VideoData
    """,
    "SSD, video-caffe": """
        LayerParameter.video_data_param
    """,
    "SSL": """
        LayerParameter.sparsify_param ParamSpec.force_mult ParamSpec.force_regularize
        SolverParameter.force_iter Sparsify
    """,
    "Synopsys": """
        Add BatchNormParameter.add_eps_before_sqrt BatchToSpaceND DataParameter.random
        DepthToSpace HardSwish ICNetSubgraph LayerParameter.batch_to_space_nd_param
        LayerParameter.depth_to_space_param LayerParameter.pad_param
        LayerParameter.resize_bilinear_param LayerParameter.resize_nearest_neighbor_param
        LayerParameter.space_to_batch_nd_param LayerParameter.squeeze_param
        LayerParameter.upsample_darknet_param LayerParameter.yolo_v2_loss_param
        LayerParameter.yolo_v3_loss_param Mul Pad PoolingParameter.pad_type
        ReshapeParameter.pixelshuffler ResizeBilinear ResizeNearestNeighbor SpaceToBatchND
        Squeeze TransformationParameter.caffe_yolo UpsampleDarknet YoloV2Loss YoloV3Loss
    """,
    "TSN": """
        SolverParameter.richness TransformationParameter.fix_crop
        TransformationParameter.is_flow TransformationParameter.max_distort
        TransformationParameter.more_fix_crop TransformationParameter.multi_scale
        TransformationParameter.scale_ratios
    """,
    "visual-concepts": """
        CrossEntropyLoss LayerParameter.mil_data_param LayerParameter.mil_param MILData
        V1LayerParameter.mil_data_param V1LayerParameter.type=CROSS_ENTROPY_LOSS
        V1LayerParameter.type=MIL_DATA
    """,
}

#: The fork of each name.
FORK_OF = {name: fork for fork, names in NAMES.items() for name in names.split()}
