//! Temperatures, where the machine tells any. A virtual machine has none.

use serde::Serialize;
use sysinfo::Components;

use super::ProbeFailed;
use super::machine::tenths;

/// Sensors told; each core of a large machine has one.
const MAX_SENSORS: usize = 128;

/// All sensors.
#[derive(Debug, Clone, Serialize)]
pub struct SensorReading {
    /// The hottest first.
    pub sensors: Vec<Sensor>,
    /// Whether there are more than told.
    pub truncated: bool,
}

/// One sensor.
#[derive(Debug, Clone, Serialize)]
pub struct Sensor {
    /// What it measures, as the driver calls it.
    pub label: String,
    /// Degrees Celsius.
    pub celsius: f32,
    /// Where the hardware calls it critical.
    pub critical_celsius: Option<f32>,
}

pub(super) fn read() -> Result<SensorReading, ProbeFailed> {
    let components = Components::new_with_refreshed_list().map_err(|_| ProbeFailed)?;
    let mut sensors: Vec<Sensor> = components
        .iter()
        .filter_map(|component| {
            let celsius = component.temperature().filter(|value| value.is_finite())?;
            Some(Sensor {
                label: component.label().to_owned(),
                celsius: tenths(celsius),
                critical_celsius: component.critical().filter(|value| value.is_finite()),
            })
        })
        .collect();
    sensors.sort_by(|a, b| b.celsius.total_cmp(&a.celsius));
    let truncated = sensors.len() > MAX_SENSORS;
    sensors.truncate(MAX_SENSORS);
    Ok(SensorReading { sensors, truncated })
}
