plugins {
    id("com.android.application") version "8.13.0"
    id("org.jetbrains.kotlin.android") version "2.3.0" // LiteRT 2.1.6 is built with it
}

android {
    namespace = "org.tfsent.sample"
    compileSdk = 36
    defaultConfig {
        applicationId = "org.tfsent.sample"
        minSdk = 24
        targetSdk = 36
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }
    // The runtime maps the model into memory, which a compressed asset does not allow.
    androidResources { noCompress += "tflite" }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.1.6") // LiteRtClassifier.kt; int4 files need 2.1 or later
    implementation("com.google.mediapipe:tasks-text:1.0.0") // MediaPipeClassifier.kt; 0.10 refuses int4 files
    androidTestImplementation("androidx.test:runner:1.7.0")
    androidTestImplementation("androidx.test.ext:junit:1.3.0")
}
