/// What is known of the public data sets: facts only, no data.
extension DataManifest {
  static let sets = [
    DataSet(
      name: "ecommerce_churn", title: "E-commerce customer churn",
      source: "Ankit Verma, Ecommerce Customer Churn Analysis and Prediction, Kaggle, 2020",
      obtain: ""
        + "kaggle.com/datasets/ankitverma2010/ecommerce-customer-churn-analysis-and-prediction; "
        + "copy github.com/NUELBUNDI/Machine-Learning-Data-Set @ 07abecc, sheet “E "
        + "Comm” as CSV",
      licence: "not stated in the copy; the Kaggle page governs (unverified)"),
    DataSet(
      name: "online_retail", title: "Online Retail",
      source: "D. Chen, S. L. Sain, K. Guo, Data mining for the online retail industry, "
        + "2012, doi:10.1057/dbm.2012.17 (UCI 352)",
      obtain: "github.com/allanvc/onlineretail @ 3a77afe, data/onlineretail.rda as CSV",
      licence: "UCI: CC BY 4.0; this copy: CC0"),
    DataSet(
      name: "movielens_small", title: "MovieLens ml-latest-small (2018-09-26)",
      source: "F. M. Harper, J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, "
        + "doi:10.1145/2827872",
      obtain: "grouplens.org/datasets/movielens; copy "
        + "github.com/stiigp/simple_recommender_system @ 0ce41dc, ml-latest-small/",
      licence: "GroupLens licence (README.txt): research use, redistribution under the same "
        + "conditions, no commercial use without permission"),
    DataSet(
      name: "online_shoppers", title: "Online Shoppers Purchasing Intention",
      source: "C. O. Sakar et al., Neural Computing and Applications 31, 2019 (UCI 468)",
      obtain: "github.com/remijul/dataset @ 2932bc4, online_shoppers_intention.csv, “;” "
        + "turned back into “,”",
      licence: "CC BY 4.0 (UCI)"),
    DataSet(
      name: "clothing_reviews", title: "Women's E-Commerce Clothing Reviews",
      source: "nicapotato, Kaggle, 2018; A. F. Agarap, arXiv:1805.03687",
      obtain: "github.com/irmakozveren01/Womens-clothing-text-analysis @ 18e084e, Womens "
        + "Clothing E-Commerce Reviews.csv.zip",
      licence: "CC0 (Kaggle page)"),
    DataSet(
      name: "complete_journey", title: "The Complete Journey 2.0 (sample)",
      source: "84.51° / dunnhumby, as the R package completejourney 1.1.1 (B. Boehmke, S. "
        + "Mortimer)",
      obtain: "github.com/bradleyboehmke/completejourney @ 5b5d061, data/*.rda as CSV",
      licence: "CC0 (R package completejourney)"),
    DataSet(
      name: "mnist_writers", title: "MNIST test set with writers",
      source: "Y. LeCun, C. Cortes, C. J. C. Burges, MNIST; C. Yadav, L. Bottou, Cold Case: "
        + "The Lost MNIST Digits, NeurIPS 2019",
      obtain: "github.com/kelas/mnist @ 283b387; github.com/facebookresearch/qmnist @ "
        + "9406136, qmnist-test-labels.tsv.gz",
      licence: "images CC BY-SA 3.0 (MNIST); writers BSD-3 (QMNIST)"),
  ]

  /// SHA-256, size in bytes and path of every file.
  static let sums = """
    1f7503f1b9015035078cec326947e4cc152e5111b0a6506c923b99a0963b1464 1075 ecommerce_churn/columns.csv
    2563936423bd8b15673fb3b3f9dec9fa26735abed64ce7532eec49dadc0cb1c2 493121 ecommerce_churn/ecommerce_churn.csv
    b3d08b20641816b25c5183aee14a4166e7e9b9edd32cd64de2586e3001416ba1 59365 ecommerce_churn/groups.csv
    9ed3e186a8cf641baa1f30d8b663a34cf7e8dc52ba3705b4226dbfe5838eaa0d 5413 ecommerce_churn/test_rows.txt
    4a2869fb80a8277e4df95dd6c7a8425c69fcea270054335177911c22571f0f8a 5427 ecommerce_churn/test_rows_grouped.txt
    ece242390e88fbe2c4e0644732488c9435395a43f56fe9ac7f37c3554eb122e0 7419270 online_retail/online_retail.csv.gz
    d4c7cc4cd83252400ac3bb0a0d3090606b80fc13f08d8d75b3685a46a75e45b5 3995 online_retail/test_customers.csv
    63d22ac138e80fae37021797ed8e1b9424b5239dc576a137422adf783ae3f404 8342 movielens_small/README.txt
    5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07 494431 movielens_small/movies.csv
    aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646 2483723 movielens_small/ratings.csv
    f913dda150c4409931a1d7b4358f49b1df9eeebf27ccbb105ddf09ef7886b77e 118965 movielens_small/test_rows.txt
    f9902e407ca4a998a97abe56985f7bde43222b99c1f670c6ac3db30a1f35b4c3 117623 movielens_small/test_rows_temporal.txt
    b3055ee355f59134d851d32641183cb4a8b45def7124d2f50442a042f358e0d9 1072063 online_shoppers/online_shoppers_intention.csv
    b916e21a3acbc6715a5d057fafea60a5bd084a330bce110aed52ac30d39a430d 12567 online_shoppers/test_rows.txt
    1eac5948a4445b8894b933ca9c1d5cc8f19b964b00e0bb14a75aeb7a0519175b 2833817 clothing_reviews/clothing_reviews.csv.gz
    44d7289de920089f7cedd0ecf5894b018694678f27774ad2c78834d1e7902226 26012 clothing_reviews/test_rows.txt
    e1e413b4c20f7aabb910ecf0bf8cb2eb02df9eb0c1d84235139505a9b56d4e0a 901 complete_journey/campaign_descriptions.csv
    ff6dba03d78fab322835572556856b4d4ec8a95a8c1f1776d866f0de88dcdcca 47933 complete_journey/campaigns.csv
    97e666d52f41c6ccc9266eebbe31a754182317392f810c703f96b5d3a46cf1e0 63776 complete_journey/coupon_redemptions.csv
    207636c5208e920046dc06678ecc4da280ca125a6c90869a1cedb8f7dc55f62c 393480 complete_journey/coupons.csv.gz
    d8afe568aca05d68defbac4652f7989cc7acea9985912501109afb2b9d5d4409 42194 complete_journey/demographics.csv
    2e0539a1db9c78a1f383e08248a55c85b9e7c5b11e6b3abc2f5f27e9ba123387 1187126 complete_journey/products.csv.gz
    6854d6f5f6d7a1fc4887050bd8023e49522ed6661508a400978d048bf4ecac35 1776042 complete_journey/transactions_sample.csv.gz
    21e925cd3e398ade2f9fe9185d35d84429b52c3b86a529cfb3011e25b68e18dc 1534 mnist_writers/LICENSE-qmnist.txt
    167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b 1648877 mnist_writers/t10k-images-idx3-ubyte.gz
    fc607395669ec21321ea83e4b82c0544b7e8e63ff5b34337c06bc0a17cc0da3c 4542 mnist_writers/t10k-labels-idx1-ubyte.gz
    ee20b33b7fcce739b542c27459389f0acc86f7f9a2a7878a6f02fe101f33e9a9 9770 mnist_writers/test_rows.txt
    307957b5c08d1927210c4abeede0b42355bb93dac443bc75503bff551b9b66e9 287 mnist_writers/test_writers.txt
    4f8f29134ac3494e55ac798c00d4e62a5dad1f70177d1a27f3cd1a68d1c375a5 198942 mnist_writers/writers.csv
    """
}
