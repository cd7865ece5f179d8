"""Every field, in the order of the data flow; other configs only override.

Published settings have their source; "our choice" marks where the paper is
silent. Counts of updates are generator updates throughout.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()

    # Run.
    config.seed = 0  # Weights, data order, latents and augmentation.
    config.deterministic = False  # Ops that repeat to the bit, slower.
    config.distribution = "auto"  # auto: what the machine has; one_device,
    # mirrored (GPUs of a host), multi_worker (hosts of TF_CONFIG), tpu or
    # tpu:NAME.
    config.precision = "float32"  # float32, mixed_bfloat16, mixed_float16.
    config.steps_per_execution = 1  # Updates that are run without a look at
    # them; of each `_every` and of `updates` a divisor.

    # Pictures.
    config.data = ml_collections.ConfigDict()
    config.data.name = "digits"  # digits, folder:PATH, or a tfds name.
    config.data.split = "train"  # Split of a tfds set.
    config.data.directory = ""  # Where tfds keeps data; "": its default.
    config.data.image_size = 32  # Pixels a side.
    config.data.min_side = 0  # Leave out pictures with a shorter side, bring
    # the others to this size first; 0 neither.
    config.data.channels = 0  # 1 gray, 3 colour, 0 as the pictures are.
    config.data.num_classes = 0  # That the data must have; 0 as it has.
    config.data.batch_size = 64  # Real pictures per discriminator update, over
    # all replicas. Not in the paper; 64 in the authors' CNN code.
    config.data.streaming = False  # Read a folder's pictures when they are
    # needed, again in each epoch, instead of all at first.
    config.data.on_bad_image = "raise"  # Or skip: of pictures that can't be
    # read.
    config.data.shift = 0  # Largest random shift, in pixels, of real and fake
    # pictures alike before the discriminator; 0 as in the paper.

    # Networks and method.
    config.network = ml_collections.ConfigDict()
    config.network.name = "cnn"  # Table 3; also resnet (Tables 4-6), and
    # resnet_concat (6c), resnet_projection, gulrajani_resnet (7),
    # acgan_resnet (8).
    config.network.width = 1.0  # Factor on all numbers of feature maps.
    config.network.discriminator_width = 1.0  # A further one on the
    # discriminator's; 1.5 in Tables 7 and 8.
    config.network.latent_dim = 128  # d_z, section 4.
    config.network.synchronized_batch_norm = True  # Statistics of all
    # replicas, as one device has them; False: of each replica, faster.
    config.method = "spectral_norm"  # A row of sngan_tf/methods.py.
    config.coefficient = 0.0  # Of the method: lambda, c or bound; 0 its own.
    config.auxiliary = ml_collections.ConfigDict()
    config.auxiliary.discriminator_weight = 1.0  # Of acgan_resnet's classifier
    config.auxiliary.generator_weight = 0.1  # loss; as Gulrajani et al. 2017.
    config.loss = "hinge"  # hinge, non_saturating, wasserstein.

    # Training: setting C of Table 1.
    config.discriminator_steps = 1  # n_dis.
    config.generator_batch_size = 1 * config.data.get_ref("batch_size")  # Fake
    # pictures per generator update, over all replicas.
    config.updates = 100_000  # Section 4.
    config.average_decay = 0.0  # Of the averaged generator, per update; 0 none.
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's alpha.
    config.optimizer.beta_1 = 0.5
    config.optimizer.beta_2 = 0.999
    config.optimizer.decay_from = -1  # Update from which the rate falls
    # linearly to 0 at the last; -1 never.

    # What is kept of a run; every counts updates, 0 is never.
    config.log_every = 100
    config.checkpoint_every = 1_000
    config.keep_checkpoints = 3  # The newest, by count;
    config.keep_checkpoints_hours = 0.0  # of those before, one for every so
    # many hours; 0 none.
    config.sample_every = 1_000
    config.evaluate_every = 5_000

    # Of which checkpoint samples and exports are.
    config.checkpoint = "last"  # last, best.

    # Sample grids.
    config.sampling = ml_collections.ConfigDict()
    config.sampling.seed = 0
    config.sampling.count = 100
    config.sampling.label = -1  # Class of all, if conditional; -1 in turn.

    # Scores: by what, of how many pictures, against which real ones.
    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.protocol = "quick"  # Of --mode=evaluate: quick, paper,
    # 50k (sngan_tf/protocols.py); during training it is quick.
    config.evaluation.samples = 5_000  # Of quick: pictures generated, and real
    # ones at most.
    config.evaluation.features = "classifier"  # Or inception, for IS and FID.
    config.evaluation.inception = ""  # Its SavedModel folder or URL; "" finds
    # it in the cache or fetches it.
    config.evaluation.classifier_updates = 600  # That the classifier is
    # trained for, of 64 pictures each.
    config.evaluation.reference = ""  # Data set of held-out pictures for
    # paper; "" data.name.
    config.evaluation.split = "test"  # Its split, of a tfds set.
    config.evaluation.best = "frechet_distance"  # Score that the best
    # checkpoint is kept by; also score, kernel_distance.
    config.evaluation.seed = 1  # Of the latents.
    return config
